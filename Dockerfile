FROM rust:1.95-bookworm AS build
WORKDIR /orderlog
COPY . .
RUN cargo build --locked --release --bin orderlog && mkdir /data

# glibc and nothing else: no shell, no package manager, not root.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /orderlog/target/release/orderlog /usr/local/bin/orderlog
# A new volume is given the owner of what lies under it. The group is for platforms that run a container
# as an arbitrary user of the group 0.
COPY --from=build --chown=nonroot:0 --chmod=0770 /data /var/lib/orderlog
ENV ORDERLOG_DATA_DIR=/var/lib/orderlog
VOLUME /var/lib/orderlog
# gRPC; and metrics, which are on the container's own loopback until ORDERLOG_METRICS_LISTEN says
# 0.0.0.0:9464: as open as gRPC is, so that needs TLS and tokens too, or ORDERLOG_INSECURE.
EXPOSE 50051 9464
# It drains, and ends: the first process, which no shell stands before. Give it longer than
# ORDERLOG_DRAIN_TIMEOUT.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s CMD ["orderlog", "status", "--ready"]
ENTRYPOINT ["orderlog"]
CMD ["serve"]

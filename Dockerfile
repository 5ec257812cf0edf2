FROM rust:1.95-bookworm AS build
WORKDIR /orderlog
COPY . .
RUN cargo build --locked --release --bin orderlog && mkdir /data

# glibc and nothing else: no shell, no package manager, not root.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /orderlog/target/release/orderlog /usr/local/bin/orderlog
# A new volume is given the owner of what lies under it.
COPY --from=build --chown=nonroot:nonroot /data /var/lib/orderlog
ENV ORDERLOG_DATA_DIR=/var/lib/orderlog
VOLUME /var/lib/orderlog
EXPOSE 50051
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s CMD ["orderlog", "status", "--ready"]
ENTRYPOINT ["orderlog"]
CMD ["serve"]

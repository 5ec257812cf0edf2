# Short names for the commands of this project. `just` lists them.

# List the recipes
default:
    @just --list

# Run the whole system on 127.0.0.1:50051, with its files in ./data
serve *ARGS:
    cargo run --release -- serve {{ ARGS }}

# Run the tests that need no other program; arguments go to cargo test
test *ARGS:
    cargo test --workspace {{ ARGS }}

# Check format, lints and documentation, as CI does
lint:
    cargo fmt --all --check
    cargo clippy --locked --workspace --all-targets -- --deny warnings
    RUSTDOCFLAGS="--deny warnings --allow rustdoc::private-intra-doc-links" cargo doc --locked --workspace --no-deps --document-private-items

# Run everything that must hold before a change lands
ci:
    .ci/run

# Run one benchmark, such as `just bench search --orders 10000`; `just bench --help` lists them
bench *ARGS="commands":
    cargo build --release
    cargo run --release -p bench -- {{ ARGS }}

# Write docs/reference from the code and the comments in proto/orders/v1
reference:
    UPDATE_REFERENCE=1 cargo test --test reference
    UPDATE_REFERENCE=1 cargo test --test e2e access::table
    UPDATE_REFERENCE=1 cargo test -p read-model --lib the_page_of_differences_is_current

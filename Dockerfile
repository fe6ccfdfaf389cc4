# docker build -t tine .
# Everything is compiled on the builder's own architecture, for whichever is asked for:
# docker buildx build --platform linux/amd64,linux/arm64 -t tine .
FROM --platform=$BUILDPLATFORM docker.io/library/rust:1.95.0-slim-bookworm AS build
# One place in every base image, since a panic message of the binary contains it.
ENV CARGO_HOME=/cargo
WORKDIR /src
RUN rustup target add x86_64-unknown-linux-musl aarch64-unknown-linux-musl
RUN --mount=type=cache,target=/cargo/registry,sharing=locked \
    cargo install --locked --quiet --version 0.7.7 --root /usr/local cargo-auditable
COPY Cargo.toml Cargo.lock build.rs ./
COPY .cargo .cargo
COPY src src
COPY html html
# amd64 or arm64, as the builder sets it; else the builder's own.
ARG TARGETARCH
# The time of every file in the image, in seconds since 1970: tine takes this one for none.
ARG SOURCE_DATE_EPOCH=0
# A layer that is used again brings old times back, by which cargo would take what it built last for
# what it is to build: hence the touch of the sources.
RUN --mount=type=cache,target=/cargo/registry,sharing=locked \
    --mount=type=cache,id=tine-target,target=/src/target,sharing=locked \
    set -eu; \
    case "${TARGETARCH:-$(uname -m)}" in \
        amd64 | x86_64) target=x86_64-unknown-linux-musl ;; \
        arm64 | aarch64) target=aarch64-unknown-linux-musl ;; \
        *) echo "tine is not built for ${TARGETARCH}" >&2; exit 1 ;; \
    esac; \
    find src -type f -exec touch {} +; \
    cargo auditable build --locked --release --target "$target"; \
    install -D -m 0755 "target/$target/release/tine" /out/tine; \
    cp -R html /out/html; \
    chmod -R u=rwX,go=rX /out; \
    find /out -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +

FROM scratch
LABEL org.opencontainers.image.title="tine" \
      org.opencontainers.image.description="A container-first static web server" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="0.1.0"
COPY --from=build /out/ /
# Any user may run it; there is no /etc/passwd, so it is a number.
USER 65532:65532
# Variables and not arguments, so that arguments add to them. Probes and metrics are read from outside the container.
ENV TINE_ROOT=/html \
    TINE_ADMIN_LISTEN=[::]:7789
EXPOSE 7788 7789
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["/tine", "healthcheck"]
ENTRYPOINT ["/tine"]

# The image: one static program, the certificates that it trusts, and a directory for its state.
#
#   buildah build --build-arg COMMIT=$(git rev-parse HEAD) --tag tidemark .
#
# BINARY=given takes what target/image/ holds instead of compiling; that is how `make test-image`
# builds it where no base image can be had.
ARG RUST=rust:1.90-alpine
ARG BINARY=built

FROM ${RUST} AS built
# The C library of the static program; two crates bring C code along, and one of them a makefile.
# hadolint ignore=DL3018
RUN apk add --no-cache ca-certificates make musl-dev
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY .cargo/ .cargo/
COPY config/ config/
COPY data/ data/
COPY src/ src/
ARG COMMIT=
RUN TIDEMARK_COMMIT="${COMMIT}" cargo build --locked --release --bin tidemark \
 && mkdir -p /out/files/etc/ssl/certs /out/files/etc/tidemark /out/files/var/lib /out/state \
 && strip -o /out/files/tidemark target/release/tidemark \
 && cp /etc/ssl/certs/ca-certificates.crt /out/files/etc/ssl/certs/

FROM scratch AS given
COPY target/image/ /out/

# hadolint ignore=DL3006
FROM ${BINARY} AS binary

FROM scratch
ARG COMMIT=
# That of Cargo.toml; a test holds the two together.
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="tidemark" \
      org.opencontainers.image.description="Keeps target APIs in step with a source API" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}"
COPY --from=binary /out/files/ /
# The only place that it writes to; everything else may be read-only.
COPY --from=binary --chown=10001:10001 /out/state/ /var/lib/tidemark/
COPY LICENSE NOTICE /
ENV TIDEMARK_CONFIG=/etc/tidemark \
    TIDEMARK__STATE__PATH=/var/lib/tidemark/state \
    TIDEMARK__SERVER__LISTEN=0.0.0.0:8642
USER 10001:10001
WORKDIR /etc/tidemark
EXPOSE 8642
ENTRYPOINT ["/tidemark"]
CMD ["serve"]

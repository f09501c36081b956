# Images with nothing but a static closestorm in them:
#
#   docker build --tag closestorm .                                 entry: closestorm
#   docker build --tag closestorm-toxiproxy --target toxiproxy .    entry: toxiproxy-server, for programs that expect Toxiproxy's image
#
# In both, /closestorm also answers to /toxiproxy-server and /toxiproxy.

FROM rust:1-alpine AS build
# hadolint ignore=DL3018
RUN apk add --no-cache build-base ca-certificates
WORKDIR /source
COPY . .
RUN cargo build --release --locked --bin closestorm
# What the images have: the program, roots of certificates for wss:// targets, a folder for temporary files, and one for results.
RUN mkdir -p /image/etc/ssl/certs /image/tmp /image/work \
    && cp target/release/closestorm /image/closestorm \
    && ln -s closestorm /image/toxiproxy-server \
    && ln -s closestorm /image/toxiproxy \
    && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
    && chmod 1777 /image/tmp \
    && chown 65532:65532 /image/work

FROM scratch AS toxiproxy
COPY --from=build /image/ /
USER 65532:65532
WORKDIR /work
# The control API, and the ports of proxies that Testcontainers maps.
EXPOSE 8474 8666-8697
ENTRYPOINT ["/toxiproxy-server"]
CMD ["-host=0.0.0.0"]

FROM scratch
COPY --from=build /image/ /
USER 65532:65532
WORKDIR /work
ENTRYPOINT ["/closestorm"]

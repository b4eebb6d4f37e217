# A static binary, and nothing but that binary, run by nobody; and for NVIDIA's cards one that
# the C library loads, as their driver asks for it, with the least system that has one:
#   docker build --target cuda -t warm:cuda . && docker run --gpus all -p 127.0.0.1:8080:8080 warm:cuda
# Checkpoints are mounted, never copied in:
#   docker build -t warm .
#   docker run -p 127.0.0.1:8080:8080 warm                                   # the embedded demonstration
#   docker run -p 127.0.0.1:8080:8080 -v "$PWD/serve.yaml:/etc/warm/serve.yaml:ro" -v "$PWD/runs:/models:ro" warm
#   docker run -p 127.0.0.1:8080:8080 -v "$PWD/runs:/models:ro" warm \
#     serve --addr 0.0.0.0:8080 --model helpful=/models/rm-1,/models/rm-2
# deploy/images/build.sh builds and tags both for amd64 and arm64, as a release has them.
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# What is written in the image for its user lies there already: nothing runs in the stages below, so
# that no processor has to be emulated.
RUN install -d -o 65532 -g 65532 /cache/warm
# What "warm version" and the labels say: docker build --build-arg VERSION=v1.2.3 --build-arg COMMIT=… .
ARG VERSION= COMMIT= TIME=
ARG LDFLAGS="-s -w -X main.buildVersion=${VERSION} -X main.buildCommit=${COMMIT} -X main.buildTime=${TIME}"
# Of the image's platform, which BuildKit says; without it this machine's.
ARG TARGETOS= TARGETARCH=
ENV CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH}
RUN go build -trimpath -ldflags="${LDFLAGS}" -o /warm-cuda ./cmd/warm
RUN go build -trimpath -tags nocuda -ldflags="${LDFLAGS}" -o /warm ./cmd/warm

FROM debian:13-slim AS cuda
ARG VERSION= COMMIT= TIME=
LABEL org.opencontainers.image.title="warm" \
      org.opencontainers.image.description="Serves weight-averaged reward models, on NVIDIA's cards or the CPU" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}" \
      org.opencontainers.image.created="${TIME}"
COPY --from=build /warm-cuda /warm
COPY --from=build /src/LICENSE /LICENSE
# Whom the hub and buckets are believed to be; neither base has any.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# What the container toolkit brings in: the driver's libraries, and how cards are doing.
ENV NVIDIA_VISIBLE_DEVICES=all
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility
# Kernels that the driver compiled. A volume there saves some seconds at every start.
ENV CUDA_CACHE_PATH=/var/cache/warm
COPY --from=build --chown=65532:65532 /cache/warm /var/cache/warm
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["/warm"]
ENV WARM_DEFAULT_CONFIG=/etc/warm/serve.yaml
HEALTHCHECK --interval=15s --timeout=6s --start-period=120s --start-interval=1s CMD ["/warm", "health"]
CMD ["serve", "--addr", "0.0.0.0:8080"]

FROM scratch AS static
ARG VERSION= COMMIT= TIME=
LABEL org.opencontainers.image.title="warm" \
      org.opencontainers.image.description="Serves weight-averaged reward models" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}" \
      org.opencontainers.image.created="${TIME}"
COPY --from=build /warm /warm
COPY --from=build /src/LICENSE /LICENSE
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["/warm"]
# Read where it is mounted.
ENV WARM_DEFAULT_CONFIG=/etc/warm/serve.yaml
# Asks the address of that configuration, else port 8080. Kubernetes and others that ask /readyz
# themselves pay it no heed.
HEALTHCHECK --interval=15s --timeout=6s --start-period=120s --start-interval=1s CMD ["/warm", "health"]
CMD ["serve", "--addr", "0.0.0.0:8080"]

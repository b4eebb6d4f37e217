# Two stages: a static binary, then nothing but that binary, run by nobody.
# Checkpoints are mounted, never copied in:
#   docker build -t warm .
#   docker run -p 127.0.0.1:8080:8080 warm                                   # the embedded demonstration
#   docker run -p 127.0.0.1:8080:8080 -v "$PWD/serve.yaml:/etc/warm/serve.yaml:ro" -v "$PWD/runs:/models:ro" warm
#   docker run -p 127.0.0.1:8080:8080 -v "$PWD/runs:/models:ro" warm \
#     serve --addr 0.0.0.0:8080 --model helpful=/models/rm-1,/models/rm-2
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o /warm ./cmd/warm

FROM scratch
COPY --from=build /warm /warm
COPY --from=build /src/LICENSE /LICENSE
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["/warm"]
# Read where it is mounted.
ENV WARM_DEFAULT_CONFIG=/etc/warm/serve.yaml
CMD ["serve", "--addr", "0.0.0.0:8080"]

# One static binary in an empty image. Nothing of it runs as root, and there is no shell to break into.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o /vestibule ./cmd/vestibule
# Directories that belong to the user that the service runs as: volumes mounted there inherit it.
RUN mkdir -p /empty/data /empty/keys /empty/tmp && chmod 1777 /empty/tmp

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /vestibule /vestibule
COPY --from=build --chown=65532:65532 /empty/ /
USER 65532:65532
# Settings are variables: VESTIBULE_ISSUER, VESTIBULE_DATABASE, … (docs/configuration.md).
ENV VESTIBULE_LISTEN=0.0.0.0:8080 VESTIBULE_DATABASE=sqlite:/data/vestibule.db VESTIBULE_LOG_FORMAT=json
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["/vestibule"]
CMD ["serve"]

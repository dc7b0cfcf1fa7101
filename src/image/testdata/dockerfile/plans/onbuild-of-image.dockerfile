FROM golang AS builder
RUN install
FROM alpine AS tools
RUN make tools
FROM trigger
RUN last

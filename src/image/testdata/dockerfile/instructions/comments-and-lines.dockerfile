# syntax=docker/dockerfile:1
# escape=`
# A comment.

FROM alpine
  # indented
RUN a `
# inside
  b `
  # and again
  c
COPY c:\x\y `
  /z
ENV P=c:\p Q=`$P

FROM alpine AS first
COPY $foo .

FROM busybox AS second
COPY $bar .

# check=experimental=InvalidDefinitionDescription
# What is this
ARG Image=alpine
ARG BAD
from ${Image} AS Context
ENV OLD way
ENV API_KEY=x PUBLIC_KEY=fine
ARG DB_PASSWORD
WORKDIR rel
RUN a \

  b
CMD one
CMD two
HEALTHCHECK CMD a
HEALTHCHECK NONE
ENTRYPOINT run $Imaeg
LABEL x=$Imge
MAINTAINER me
COPY ignored/x y /
Expose 80/TCP 1:2
FROM img$NOPE as context
FROM --platform=linux/amd64 busybox$BAD

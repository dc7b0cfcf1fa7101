FROM alpine
ENV d=/srv
VOLUME /data $d/files
VOLUME ["/with space", "/data"]

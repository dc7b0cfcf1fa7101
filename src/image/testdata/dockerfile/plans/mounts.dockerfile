FROM alpine AS other
RUN make /out
FROM alpine
WORKDIR /w
ARG DIR=cache UID=5
RUN --mount=type=bind,source=src,target=/src \
    --mount=target=.,rw \
    --mount=from=other,source=/out,dst=/out,ro=false \
    --mount=type=cache,target=/root/.cache \
    --mount=type=cache,id=$DIR,target=$DIR,sharing=locked,uid=$UID,gid=6,mode=0700,from=other,source=/seed \
    --mount=type=cache,target=/ro,ro,sharing=private \
    --mount=type=tmpfs,target=/tmp,size=64m \
    --mount=type=tmpfs,target=/tmp2 \
    --mount=type=secret,id=token \
    --mount=type=secret,id=a/b,target=/etc/b,required,mode=0444,uid=1,gid=2 \
    --mount=type=secret,id=pass,env=PASS \
    --mount=type=secret,source=both,env=BOTH,target=both \
    --mount=type=secret,target=/x/named \
    --mount=type=ssh \
    --mount=type=ssh,id=key,target=/s,required=true,uid=3 \
    --mount='type=bind,"source=a,b",target=/comma' \
    make
RUN --mount=from=scratch,target=/empty --mount=from=busybox,target=/busy true

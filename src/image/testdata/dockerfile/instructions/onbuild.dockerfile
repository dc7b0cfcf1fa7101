FROM alpine
ONBUILD ADD . /app
onbuild run make $X
ONBUILD RUN <<EOF
one
two
EOF

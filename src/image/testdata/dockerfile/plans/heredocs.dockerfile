FROM alpine
RUN <<EOF
set -e
echo $HOME
EOF
RUN <<-SCRIPT
	#!/usr/bin/env python3
	print("hi")
SCRIPT
RUN python3 - <<'PY' && echo done
print("$x")
PY
ENV who=me
COPY <<a.txt <<'b.txt' dir/c.txt /etc/x/
for $who
a.txt
for $who
b.txt
COPY <<EOF /etc/motd
hi
EOF

FROM alpine
ENV name=world
RUN <<EOF
echo $name
EOF
RUN cat <<ONE 3<<-TWO > /x
1 $name
ONE
		2
	TWO
COPY <<hello.txt <<"raw.txt" <<-tabs /etc/
hello $name "quoted" \$name
hello.txt
raw $name
raw.txt
	tabs ${name:-x}
	tabs

FROM alpine
ENV V=1.2
ADD a.tar.gz /d
ADD --unpack=false a.tar.gz /d/
ADD --unpack https://example.com/a-$V.tgz /d/
ADD --checksum=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef https://example.com/f?x=1 /f
ADD --keep-git-dir=true https://github.com/moby/buildkit.git#v0.10.1:docs /docs
ADD --checksum=0123456789abcdef0123456789abcdef01234567 git@github.com:a/b.git /b
ADD local http://example.com/x other <<inline /mixed/
text
inline
ADD https://example.com/only /o

FROM alpine
ADD --chmod=u=rwX,go=rX a.tar /d
ADD --checksum=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef https://example.com/x /x

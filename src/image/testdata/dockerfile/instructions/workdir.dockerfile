FROM alpine
ENV sub=d
WORKDIR /x
WORKDIR a
WORKDIR ../b/./c/
WORKDIR "$sub e"

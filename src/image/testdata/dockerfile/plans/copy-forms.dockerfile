FROM alpine AS s
RUN x
FROM alpine
COPY a /b
COPY a b/ c* /d/
COPY ../up ./here/.. .
COPY ["with space", "to space/"]
WORKDIR /w
COPY x y
COPY x ./
COPY x .
COPY --chown=user:group --chmod=0755 --link a /b
COPY --from=s --exclude=*.md --exclude=!keep.md /src /dst
COPY --parents a/b.txt x/./y/*.go **/z /p/
COPY [abc]?\* /q/
COPY --link=false -- --odd /r

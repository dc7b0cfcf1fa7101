FROM scratch AS nothing
ENV A=1
FROM nothing
COPY x /

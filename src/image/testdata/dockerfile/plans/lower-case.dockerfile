from alpine as a
run x
from a
copy --from=A y /

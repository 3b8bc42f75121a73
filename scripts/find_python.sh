#!/bin/sh
# Print the first Python that is new enough (3.11); the Makefile builds the virtual environment with it.
for python in "$PYTHON" python3 python3.11 python3.12 python3.13 python3.14; do
    if [ -n "$python" ] && "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        exec "$python" -c 'import sys; print(sys.executable)'
    fi
done
echo "pcemu needs Python 3.11 or newer (python3 here: $(python3 -V 2>&1))" >&2
exit 1

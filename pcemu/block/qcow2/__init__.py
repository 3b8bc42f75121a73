"""The qcow2 image format, versions 2 and 3 (QEMU's docs/interop/qcow2.txt has the layout).

`header` and `entry` say what the bytes mean, `refcount` and `l2cache` keep tables in memory, `image` is the node that
reads and writes, `snapshot` and `check` work on whole images, `create` makes them. The order in which metadata reaches
the disk is in `image.Qcow2Node.flush`.
"""

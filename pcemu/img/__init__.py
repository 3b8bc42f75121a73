"""pcemu-img: make, look at, convert and repair disk images. Options and output are qemu-img's."""

//! Links, addresses, routes and sockets of the kernel, asked and changed over netlink.

/*
 * link: interfaces, addresses, routes and neighbours of a network namespace, over rtnetlink.
 * Private to lib/prove.
 *
 * Each asks on a socket of link_open() and waits for the kernel's answer: 0 or -errno.
 */
#ifndef PROVE_LINK_H
#define PROVE_LINK_H

#include <stdint.h>

#include "addr/addr.h"

enum { LINK_MAC = 6 };

/* A socket in the namespace of the calling process; -errno. To be closed. */
int
link_open(void);

/* A pair of interfaces that are each other's other end: `name` here, with the address mac; `peer`
 * in the namespace of the descriptor, with the address peer_mac. */
int
link_pair(int fd, const char *name, const uint8_t mac[LINK_MAC], const char *peer, int peer_ns,
    const uint8_t peer_mac[LINK_MAC]);

/* Switches the interface on. */
int
link_up(int fd, int index);

/* Gives the interface an address of its own, without a network around it. */
int
link_address(int fd, int index, const struct addr *x);

/* Sends what is for `to` (NULL: for all of the family) out by the interface to the gateway, which
 * need not be in any network. */
int
link_route(int fd, int index, enum addr_family family, const struct addr *to,
    const struct addr *gateway);

/* Says for ever which address on the wire the neighbour has. */
int
link_neighbour(int fd, int index, const struct addr *x, const uint8_t mac[LINK_MAC]);

#endif

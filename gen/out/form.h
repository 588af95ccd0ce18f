/*
 * form: what text and JSON share. Private to gen/out.
 */
#ifndef OUT_FORM_H
#define OUT_FORM_H

#include <stdbool.h>
#include <stddef.h>

#include "gen/out/out.h"
#include "plan/plan.h"

/* Addresses as text, for millions of them: not NUL-terminated, the length is given.
 * IPv6 as RFC 5952 writes it. */
size_t
form_addr4(char out[15], uint32_t x);
size_t
form_addr6(char out[39], u128 x);

/* The length of the prefix that lo..hi is, or -1. bits: 32 or 128. */
int
form_prefix(u128 lo, u128 hi, unsigned bits);

/* The words of a field, as nft has them: `ip saddr` is {"ip", "saddr"}; one word alone is a
 * meta key. */
struct form_field {
	const char *text;          /* "ip saddr" */
	const char *proto, *name;  /* JSON payload; proto NULL: meta key `name` */
};

const struct form_field *
form_field(enum plan_field f);

/* The names of the bits that are set, in order; *bit loses the one given; NULL at the end. */
const char *
form_ct_state(uint32_t *bits);
const char *
form_tcp_flag(uint32_t *bits);

/* "accept", ..., "goto"; NULL for none and for reject and redirect. */
const char *
form_verdict(enum plan_verdict_kind k);

const char *
form_hook(enum packet_hook h);

const char *
form_chain_type(enum plan_chain_type t);

/* The table that the options mean. */
const char *
form_table(const struct plan *p, const struct out_options *o, char name[PLAN_NAME + 3]);

/* Tables that the load replaces, other than the one that it makes; NULL ends. */
void
form_stale(const struct plan *p, const struct out_options *o,
    const char *name[4], char hold[3][PLAN_NAME + 3]);

/* Whether the chain belongs to the part. */
bool
form_has(const struct plan_chain *c, enum out_part part);

/* Whether the text is a decimal number. */
bool
form_number(const char *s);

#endif

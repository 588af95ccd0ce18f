/*
 * tls: the client's side of TLS over bytes; no socket, no file but those that the
 * configuration names.
 *
 * A context is made once for each relay, a session for each connection. Bytes from the
 * network are fed in, bytes for the network are taken out, by the caller, at its leisure; so an
 * event loop owns all waiting. A certificate is checked while the handshake runs: by the
 * system's roots or the relay's own, its dates, and its subject alternative names (RFC 9525:
 * never the common name); a session that is not verified never says TLS_READY.
 *
 * TLS 1.2 at least, whatever the configuration says (RFC 8314 section 4.1, RFC 8996). No
 * renegotiation, no compression, no session that outlives its context.
 */
#ifndef TLS_TLS_H
#define TLS_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tls_context;
struct tls;

enum { TLS_MOST_WHY = 512, TLS_MOST_HELD = 64 << 10 };

struct tls_options {
	unsigned minimum;          /* 12 or 13; 0: 12 */
	const char *ciphers;       /* OpenSSL names with ':' between; those of TLS 1.3 begin with TLS_.
	                              NULL: OpenSSL's own choice (RFC 9325's) */
	const char *ca;            /* a file or folder of roots; NULL: the system's */
	const char *certificate;   /* PEM file of our own chain, with its key; NULL: none */
	const char *key;           /* PEM file of the key; NULL: it is in `certificate` */
};

/* A context. 0, or -EINVAL with why (of TLS_MOST_WHY bytes) in words: a file that cannot be
 * read or is none, a cipher that is not known, a key that does not fit; or -ENOMEM. */
int
tls_context_new(const struct tls_options *o, struct tls_context **out, char why[TLS_MOST_WHY]);

/* Whether its roots are other files by now, or were written anew: then another context knows better. A
 * folder's own roots are read as they are needed. */
bool
tls_context_stale(const struct tls_context *c);

/* Whether a certificate of our own, a PEM file of the chain with its key, is one that a relay can accept. 0, or
 * -EINVAL with why: it cannot be read, the key is another's, it has ended, or it is signed by itself,
 * where relays ask for one of a common authority (COR-13); or -ENOMEM. */
int
tls_own_check(const char *file, char why[TLS_MOST_WHY]);

/* Frees it; sessions of it live on. NULL is fine. Returns NULL. */
struct tls_context *
tls_context_free(struct tls_context *c);

/* A session towards a server of that name (SNI; an address literal sends none), whose certificate
 * must bear `name` or, where nalso is not 0, one of `also` instead (the relay's pinned names; the
 * strings must last for the call). NULL without memory. */
struct tls *
tls_new(struct tls_context *c, const char *name, const char *const *also, size_t nalso);

/* Frees it without a word to the other side. NULL is fine. Returns NULL. */
struct tls *
tls_free(struct tls *t);

enum tls_state {
	TLS_SHAKING,               /* the handshake goes on: more bytes from the network are needed */
	TLS_READY,                 /* verified: plain text may flow */
	TLS_ENDED,                 /* the other side closed in order (close_notify) */
	TLS_FAILED,                /* see tls_why() */
};

enum tls_state
tls_state(const struct tls *t);

/* Takes n bytes that came from the network. Gives how many were taken: less than n where TLS_MOST_HELD
 * are waiting to be read; the rest is to be fed again. What a server sent before the handshake
 * began must never be fed (RFC 3207 section 4.2: drop the connection). */
size_t
tls_feed(struct tls *t, const void *bytes, size_t n);

/* The network has ended (EOF): without a close_notify before it that is TLS_FAILED, "cut", once tls_read() has given
 * what came before. Nothing is taken to be sent any more. */
void
tls_feed_end(struct tls *t);

/* Copies at most n bytes of plain text out; 0 where there is none yet. */
size_t
tls_read(struct tls *t, void *bytes, size_t n);

/* Takes plain text to be sent; gives how much of it: less than n where TLS_MOST_HELD wait to go
 * out. 0 unless TLS_READY, and after tls_feed_end(). */
size_t
tls_write(struct tls *t, const void *bytes, size_t n);

/* Says farewell (close_notify); what goes out has to be taken still. */
void
tls_end(struct tls *t);

/* The bytes for the network that wait, and how many; after `n` of them were sent, tls_sent(). */
const void *
tls_out(struct tls *t, size_t *n);
void
tls_sent(struct tls *t, size_t n);

/* Why it failed, a sentence for people without a full stop: "the certificate is for
 * mx.example.org, not smtp.example.org"; "" where it did not. Lives as long as t. */
const char *
tls_why(const struct tls *t);

/* What it was that failed, of what people can mend. */
enum tls_fault {
	TLS_FAULT_NONE,
	TLS_FAULT_OTHER,
	TLS_FAULT_VERSION,         /* no version in common */
	TLS_FAULT_CIPHERS,         /* no cipher in common */
	TLS_FAULT_EXPIRED, TLS_FAULT_NOT_YET, /* the certificate, by this host's clock */
	TLS_FAULT_NAME,            /* the certificate is for another */
	TLS_FAULT_ROOT,            /* nobody that we trust vouches for it */
	TLS_FAULT_OURS,            /* the other side does not take our certificate, or misses it */
	TLS_FAULT_CUT,             /* the connection ended */
};

enum tls_fault
tls_fault(const struct tls *t);

/* The server's certificate, as far as it came, also where it is not to be trusted. */
struct tls_peer {
	bool known;
	int64_t from, until;       /* seconds since 1970; 0: not to be read */
	char names[256];           /* its subject alternative names, ", " between; those that do not fit are left out */
	char issuer[160];          /* whose it is, for people */
	bool self;                 /* it vouches for itself */
};

const struct tls_peer *
tls_peer(const struct tls *t);

/* For the log (COL-35): "TLSv1.3", "TLS_AES_256_GCM_SHA384"; "" before TLS_READY. */
const char *
tls_version(const struct tls *t);
const char *
tls_cipher(const struct tls *t);

/* The SHA-256 of the server's certificate (DER) in hexadecimal, NUL-terminated; "" before it came. */
const char *
tls_fingerprint(const struct tls *t);

/* The channel binding tls-exporter (RFC 9266), 32 bytes, for SASL; false before TLS_READY. */
bool
tls_binding(const struct tls *t, uint8_t out[32]);

#endif

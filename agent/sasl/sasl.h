/*
 * sasl: who we are, told to a relay (RFC 4422, RFC 4954): the client's side of PLAIN, LOGIN,
 * CRAM-MD5, SCRAM-SHA-1, SCRAM-SHA-256 (and their -PLUS) by libgsasl, of OAUTHBEARER (RFC 7628)
 * and XOAUTH2 by hand, for each of these is one line.
 *
 * No socket, no file. Secrets are overwritten when they are freed, and are in no message that
 * this room makes.
 */
#ifndef SASL_SASL_H
#define SASL_SASL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SASL_MOST_CREDENTIAL = 16 << 10, SASL_MOST_WHY = 200 };

/* A credential as it stands in its file, a key a line; lines that are blank or begin with # are
 * passed over:
 *
 *     user: web-forms@example.org
 *     password: correct horse battery staple      the rest of the line, as it is
 *
 * or `token: ...` in place of the password, for OAuth. */
struct sasl_credential {
	char *user, *password, *token; /* password or token is NULL */
};

/* Reads n bytes. NULL with why (SASL_MOST_WHY bytes; it tells lines, never what is in them) where
 * they are none. */
struct sasl_credential *
sasl_credential_read(const char *bytes, size_t n, char why[SASL_MOST_WHY]);

/* Overwrites and frees; NULL is fine. Returns NULL. */
struct sasl_credential *
sasl_credential_free(struct sasl_credential *c);

/* Chooses the best mechanism of the relay's list (blanks between names, as AUTH lists them) that
 * the credential serves: SCRAM before CRAM-MD5 before PLAIN before LOGIN; a token's are
 * OAUTHBEARER, XOAUTH2. What tells the password to the relay only with `encrypted`. -PLUS only with
 * `bound`. NULL: there is none. */
const char *
sasl_choose(const char *list, const struct sasl_credential *c, bool encrypted, bool bound);

struct sasl;

/* A session by that mechanism (one that sasl_choose gave). `host` and `port` are the relay's, for
 * OAUTHBEARER; `binding` (32 bytes of tls-exporter, RFC 9266) is for -PLUS, NULL: there is none. The
 * credential must outlive it. 0 or -ENOMEM, -ENOTSUP. */
int
sasl_new(const char *mechanism, const struct sasl_credential *c, const char *host, unsigned port,
    const uint8_t *binding, struct sasl **out);

/* Overwrites and frees; NULL is fine. Returns NULL. */
struct sasl *
sasl_free(struct sasl *s);

/* Whether the first line goes with AUTH itself (RFC 4954 initial response). */
bool
sasl_is_first(const struct sasl *s);

/* The next line to be sent, base64, NUL-terminated, valid until the next call: the first where
 * challenge is NULL, else the answer to a challenge (base64 as it stood behind 334). NULL where
 * the relay's challenge makes no sense, or the relay does not know the password (SCRAM): cancel by
 * "*". An empty answer is "". */
const char *
sasl_step(struct sasl *s, const char *challenge);

/* Whether the relay has proved what the mechanism lets it prove: before that a 235 is not to be
 * believed. True from the start for mechanisms that prove nothing. */
bool
sasl_is_proved(const struct sasl *s);

#endif

/* The words of the enums, labels for people, and look-ups. */
#include <string.h>

#include "base/arena.h"
#include "policy/policy.h"

const char *
policy_stmt_kind_word(enum policy_stmt_kind k)
{
	static const char *const word[] = {
		[POLICY_EXEMPT] = "exempt", [POLICY_RELAY] = "relay", [POLICY_BLOCK] = "block",
		[POLICY_ROAMING] = "roaming", [POLICY_OTHERWISE] = "otherwise",
	};

	return word[k];
}

const char *
policy_dir_word(enum policy_dir d)
{
	return d == POLICY_OUTBOUND ? "outbound" : "inbound";
}

const char *
policy_with_word(enum policy_with w)
{
	return w == POLICY_REJECT ? "reject" : "drop";
}

const char *
policy_tls_word(enum policy_tls t)
{
	static const char *const word[] = {
		[POLICY_TLS_NONE] = "none", [POLICY_TLS_STARTTLS] = "starttls",
		[POLICY_TLS_IMPLICIT] = "implicit", [POLICY_TLS_FORBIDDEN] = "forbidden",
	};

	return word[t];
}

const char *
policy_auth_word(enum policy_auth t)
{
	static const char *const word[] = {
		[POLICY_AUTH_NONE] = "none", [POLICY_AUTH_PASSWORD] = "password",
		[POLICY_AUTH_CERTIFICATE] = "certificate",
	};

	return word[t];
}

const char *
policy_class_word(enum policy_class c)
{
	static const char *const word[] = {
		[POLICY_CLASS_ANY] = "any", [POLICY_CLASS_PERSONAL] = "personal",
		[POLICY_CLASS_DEVICE] = "device",
	};

	return word[c];
}

const char *
policy_count_word(enum policy_count c)
{
	static const char *const word[] = {
		[POLICY_COUNT_CONNECTIONS] = "connections", [POLICY_COUNT_MESSAGES] = "messages",
		[POLICY_COUNT_RECIPIENTS] = "recipients", [POLICY_COUNT_BYTES] = "bytes",
	};

	return word[c];
}

const char *
policy_each_word(enum policy_each e)
{
	static const char *const word[] = {
		[POLICY_EACH_ALL] = "all", [POLICY_EACH_SOURCE] = "source",
		[POLICY_EACH_HOST] = "host", [POLICY_EACH_APPLICATION] = "application",
		[POLICY_EACH_SENDER] = "sender", [POLICY_EACH_RELAY] = "relay",
	};

	return word[e];
}

const char *
policy_over_word(enum policy_over o)
{
	static const char *const word[] = {
		[POLICY_OVER_WARN] = "warn", [POLICY_OVER_REFUSE] = "refuse",
		[POLICY_OVER_DEFER] = "defer", [POLICY_OVER_DELAY] = "delay",
		[POLICY_OVER_LOG] = "log", [POLICY_OVER_REJECT] = "reject",
		[POLICY_OVER_DROP] = "drop",
	};

	return word[o];
}

const char *
policy_expect_word(enum policy_expect e)
{
	static const char *const word[] = {
		[POLICY_EXPECT_ALLOW] = "allow", [POLICY_EXPECT_UNTOUCHED] = "untouched",
		[POLICY_EXPECT_DENY] = "deny", [POLICY_EXPECT_REJECT] = "reject",
		[POLICY_EXPECT_DROP] = "drop", [POLICY_EXPECT_CAPTURE] = "capture",
	};

	return word[e];
}

const char *
policy_registration_word(enum policy_registration r)
{
	static const char *const word[] = {
		[POLICY_REGISTERED] = "registered", [POLICY_PENDING] = "pending",
		[POLICY_SUSPENDED] = "suspended",
	};

	return word[r];
}

const char *
policy_stmt_label(struct arena *a, const struct policy_stmt *s)
{
	const char *kind = policy_stmt_kind_word(s->kind), *name = s->meta.name;
	size_t k = strlen(kind);

	if (!name || !strcmp(name, kind))
		return kind;
	if (s->kind == POLICY_RELAY) {
		const char *relay = s->relay->meta.name;

		if (!strncmp(name, "relay-", 6) && !strcmp(name + 6, relay))
			return arena_printf(a, "relay %s", relay);
		return arena_printf(a, "relay %s (%s)", relay, name);
	}
	/* a made name, "block-2", says its kind already */
	if (!strncmp(name, kind, k) && name[k] == '-' &&
	    strspn(name + k + 1, "0123456789") == strlen(name + k + 1))
		return name;
	return arena_printf(a, "%s %s", kind, name);
}

const struct policy_point *
policy_point_find(const struct policy *p, const char *name)
{
	for (size_t i = 0; i < p->npoint; i++)
		if (!strcmp(p->point[i]->meta.name, name))
			return p->point[i];
	return NULL;
}

const struct policy_relay *
policy_relay_find(const struct policy *p, const char *name)
{
	for (size_t i = 0; i < p->nrelay; i++)
		if (!strcmp(p->relay[i]->meta.name, name))
			return p->relay[i];
	return NULL;
}

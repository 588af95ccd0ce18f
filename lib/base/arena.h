/*
 * arena: memory with one owner and one end.
 *
 * A unit of work (a policy, a plan, a diagram) allocates from its arena and
 * frees it whole. Allocation never returns NULL: a compile is a process (or
 * a jailed child) of its own, and the machine refusing memory ends it by
 * abort(3); who has to live on asks by arena_try(). Memory is zeroed and
 * aligned for any type.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stdarg.h>
#include <stddef.h>

struct arena;

/* A new, empty arena; the caller owns it. */
struct arena *
arena_new(void);

/* Frees the arena and all it gave out; NULL is fine. Returns NULL. */
struct arena *
arena_free(struct arena *a);

/* `size` zeroed bytes that live as long as the arena. */
void *
arena_alloc(struct arena *a, size_t size)
    __attribute__((returns_nonnull));

/* The array p of `old` elements of `size` bytes, moved to hold `n`; the new
 * tail is zeroed. The old place stays valid until the arena ends. p may be
 * NULL where `old` is 0. */
void *
arena_resize(struct arena *a, void *p, size_t old, size_t n, size_t size)
    __attribute__((returns_nonnull));

/* A NUL-terminated copy of n bytes at s. */
char *
arena_strn(struct arena *a, const char *s, size_t n)
    __attribute__((returns_nonnull));

/* A copy of the string s; NULL gives NULL. */
char *
arena_str(struct arena *a, const char *s);

/* Formatted text that lives as long as the arena. */
char *
arena_printf(struct arena *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3), returns_nonnull));

char *
arena_vprintf(struct arena *a, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0), returns_nonnull));

/* Calls fn(arg). 0; or -ENOMEM where the machine had no memory for an arena: fn was left
 * there and then, and the arenas that were made in it and not kept are freed. What it held
 * besides is the caller's to give back. Calls nest: the innermost comes back. */
int
arena_try(void (*fn)(void *), void *arg);

/* As where the machine has no memory for an arena: said for what another library was refused. */
_Noreturn void
arena_no_memory(void);

/* The arena outlives a failure of the arena_try() in which it was made. */
void
arena_keep(struct arena *a);

/* Bytes taken from the machine so far. */
size_t
arena_used(const struct arena *a);

#define arena_of(a, type) ((type *)arena_alloc((a), sizeof(type)))
#define arena_array(a, n, type) ((type *)arena_resize((a), NULL, 0, (n), sizeof(type)))

/*
 * Growing arrays in an arena: three fields `T *v; size_t n, cap;` in any
 * struct, and ARENA_PUSH(a, s->v, s->n, s->cap) gives the place of a new
 * zeroed element. Doubling, so the waste is at most what is used.
 */
#define ARENA_PUSH(a, v, n, cap) \
	(*(((n) < (cap)) ? &(v)[(n)++] : \
	   ((v) = arena_resize((a), (v), (n), (cap) ? 2 * (size_t)(cap) : 4, sizeof *(v)), \
	    (cap) = (cap) ? 2 * (cap) : 4, &(v)[(n)++])))

#endif

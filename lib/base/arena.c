#include "base/arena.h"

#include <errno.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_BLOCK = 64 * 1024, MAX_BLOCK = 4 * 1024 * 1024 };

struct block {
	struct block *next;
	_Alignas(max_align_t) char mem[];
};

struct arena {
	struct block *head;
	char *at, *end;
	size_t block, used;
	struct trap *trap;         /* in which it is listed; NULL: in none */
	struct arena *next, *before;
};

/* An arena_try() that runs. */
struct trap {
	jmp_buf at;
	struct trap *outer;
	struct arena *made;        /* in it, and not kept */
};

static _Thread_local struct trap *trap;

_Noreturn void
arena_no_memory(void)
{
	if (!trap)
		abort();
	longjmp(trap->at, 1);
}

static void
list(struct arena *a)
{
	if (!trap)
		return;
	a->trap = trap;
	a->next = trap->made;
	if (a->next)
		a->next->before = a;
	trap->made = a;
}

/* A function of its own: nothing here changes between the two returns of setjmp(3). */
static int
run(struct trap *t, void (*fn)(void *), void *arg)
{
	if (setjmp(t->at))
		return -ENOMEM;
	fn(arg);
	return 0;
}

int
arena_try(void (*fn)(void *), void *arg)
{
	struct trap t = {.outer = trap};
	int err;

	trap = &t;
	err = run(&t, fn, arg);
	trap = t.outer;
	while (t.made) {
		struct arena *a = t.made;

		/* out of the list; NOLINTNEXTLINE(clang-analyzer-unix.Malloc): none is in it twice */
		arena_keep(a);
		if (err)
			arena_free(a);
		else
			list(a);
	}
	return err;
}

void
arena_keep(struct arena *a)
{
	if (!a->trap)
		return;
	if (a->before)
		a->before->next = a->next;
	else
		a->trap->made = a->next;
	if (a->next)
		a->next->before = a->before;
	a->trap = NULL;
	a->next = a->before = NULL;
}

struct arena *
arena_new(void)
{
	struct arena *a = calloc(1, sizeof *a);

	if (!a)
		arena_no_memory();
	a->block = FIRST_BLOCK;
	list(a);
	return a;
}

struct arena *
arena_free(struct arena *a)
{
	if (!a)
		return NULL;
	arena_keep(a);
	for (struct block *b = a->head, *next; b; b = next) {
		next = b->next;
		free(b);
	}
	free(a);
	return NULL;
}

/* calloc, so that the kernel's fresh pages are not written twice. */
static struct block *
block_new(struct arena *a, size_t size)
{
	struct block *b;

	if (size > SIZE_MAX - sizeof *b || !(b = calloc(1, sizeof *b + size)))
		arena_no_memory();
	a->used += sizeof *b + size;
	return b;
}

void *
arena_alloc(struct arena *a, size_t size)
{
	const size_t al = _Alignof(max_align_t);
	char *p;

	if (size > SIZE_MAX / 2)
		abort();
	/* Nothing has a place too: never NULL. */
	size = size ? (size + al - 1) & ~(al - 1) : al;
	if (size > a->block / 4) {
		/* Large pieces stand alone, behind the block in use. */
		struct block *b = block_new(a, size);

		if (a->head) {
			b->next = a->head->next;
			a->head->next = b;
		} else {
			a->head = b;
		}
		return b->mem;
	}
	if ((size_t)(a->end - a->at) < size) {
		struct block *b = block_new(a, a->block);

		b->next = a->head;
		a->head = b;
		a->at = b->mem;
		a->end = b->mem + a->block;
		if (a->block < MAX_BLOCK)
			a->block *= 2;
	}
	p = a->at;
	a->at += size;
	return p;
}

void *
arena_resize(struct arena *a, void *p, size_t old, size_t n, size_t size)
{
	void *q;

	if (size && n > SIZE_MAX / size)
		abort();
	q = arena_alloc(a, n * size);
	if (old)
		memcpy(q, p, (old < n ? old : n) * size);
	return q;
}

char *
arena_strn(struct arena *a, const char *s, size_t n)
{
	char *p = arena_alloc(a, n + 1);

	memcpy(p, s, n);
	return p;
}

char *
arena_str(struct arena *a, const char *s)
{
	return s ? arena_strn(a, s, strlen(s)) : NULL;
}

char *
arena_vprintf(struct arena *a, const char *fmt, va_list ap)
{
	va_list aq;
	char *p;
	int n;

	/* Said in words too: gcc believes in a NULL that its sanitizer looks for. */
	if (!fmt)
		abort();
	va_copy(aq, ap);
	n = vsnprintf(NULL, 0, fmt, aq);
	va_end(aq);
	if (n < 0)
		abort();
	p = arena_alloc(a, (size_t)n + 1);
	vsnprintf(p, (size_t)n + 1, fmt, ap);
	return p;
}

char *
arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	char *p;

	va_start(ap, fmt);
	p = arena_vprintf(a, fmt, ap);
	va_end(ap);
	return p;
}

size_t
arena_used(const struct arena *a)
{
	return a->used;
}

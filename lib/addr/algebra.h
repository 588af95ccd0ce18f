/*
 * algebra: linear merges of sorted disjoint ranges, for any unsigned bound.
 *
 * A template, included once for each type by set.c and port.c with
 *   RANGE       the struct, with the fields lo and hi
 *   BOUND       the type of the fields
 *   LAST        the greatest bound
 *   NAME(x)     the function's name
 * Arrays given in are canonical (set.h says how), and so are those given out.
 * Results have room for an + bn ranges, which is the most there can be.
 */

/* Merges ranges that are sorted by lo, in place; gives their number. */
static size_t
NAME(merge)(RANGE *v, size_t n)
{
	size_t k = 0;

	for (size_t i = 1; i < n; i++) {
		if (v[k].hi == LAST || v[i].lo <= v[k].hi + 1) {
			if (v[i].hi > v[k].hi)
				v[k].hi = v[i].hi;
		} else {
			v[++k] = v[i];
		}
	}
	return n ? k + 1 : 0;
}

static bool
NAME(sorted)(const RANGE *v, size_t n)
{
	for (size_t i = 1; i < n; i++)
		if (v[i].lo < v[i - 1].lo)
			return false;
	return true;
}

static bool
NAME(equal)(const RANGE *a, size_t an, const RANGE *b, size_t bn)
{
	if (an != bn)
		return false;
	for (size_t i = 0; i < an; i++)
		if (a[i].lo != b[i].lo || a[i].hi != b[i].hi)
			return false;
	return true;
}

/* The index of the first range that ends at x or behind. */
static size_t
NAME(at)(const RANGE *v, size_t n, BOUND x)
{
	size_t lo = 0, hi = n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (v[mid].hi < x)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool
NAME(has)(const RANGE *v, size_t n, BOUND x)
{
	size_t i = NAME(at)(v, n, x);

	return i < n && v[i].lo <= x;
}

static bool
NAME(covers)(const RANGE *v, size_t n, const RANGE *in, size_t m)
{
	size_t i = m ? NAME(at)(v, n, in[0].lo) : 0;

	for (size_t j = 0; j < m; j++) {
		while (i < n && v[i].hi < in[j].lo)
			i++;
		if (i == n || v[i].lo > in[j].lo || v[i].hi < in[j].hi)
			return false;
	}
	return true;
}

static size_t
NAME(union)(RANGE *out, const RANGE *a, size_t an, const RANGE *b, size_t bn)
{
	size_t i = 0, j = 0, k = 0;

	while (i < an || j < bn)
		out[k++] = j == bn || (i < an && a[i].lo <= b[j].lo) ?
		    a[i++] : b[j++];
	return NAME(merge)(out, k);
}

static size_t
NAME(and)(RANGE *out, const RANGE *a, size_t an, const RANGE *b, size_t bn)
{
	size_t k = 0;

	for (size_t i = 0, j = 0; i < an && j < bn; ) {
		BOUND lo = a[i].lo > b[j].lo ? a[i].lo : b[j].lo;
		BOUND hi = a[i].hi < b[j].hi ? a[i].hi : b[j].hi;

		if (lo <= hi)
			out[k++] = (RANGE){lo, hi};
		if (a[i].hi < b[j].hi)
			i++;
		else
			j++;
	}
	return k;
}

static size_t
NAME(minus)(RANGE *out, const RANGE *a, size_t an, const RANGE *b, size_t bn)
{
	size_t j = 0, k = 0;

	for (size_t i = 0; i < an; i++) {
		BOUND lo = a[i].lo;
		bool rest = true;

		while (j < bn && b[j].hi < lo)
			j++;
		while (j < bn && b[j].lo <= a[i].hi) {
			if (b[j].lo > lo)
				out[k++] = (RANGE){lo, (BOUND)(b[j].lo - 1)};
			if (b[j].hi >= a[i].hi) {
				rest = false;
				break;
			}
			lo = (BOUND)(b[j].hi + 1);
			j++;
		}
		if (rest)
			out[k++] = (RANGE){lo, a[i].hi};
	}
	return k;
}

static int
NAME(order)(const void *pa, const void *pb)
{
	const RANGE *a = pa, *b = pb;

	return (a->lo > b->lo) - (a->lo < b->lo);
}

/* Sorts by lo: runs of 16 by insertion, then merges of twice the length, to
 * and fro. qsort(3), which calls for each comparison, takes three times as
 * long for a million; it remains for the machine that has no memory. */
static void
NAME(sort)(RANGE *v, size_t n)
{
	RANGE *from = v, *to, *t;

	for (size_t run = 0; run < n; run += 16) {
		for (size_t i = run + 1; i < n && i < run + 16; i++) {
			RANGE x = v[i];
			size_t j = i;

			for (; j > run && v[j - 1].lo > x.lo; j--)
				v[j] = v[j - 1];
			v[j] = x;
		}
	}
	if (n <= 16)
		return;
	t = malloc(n * sizeof *t);
	if (!t) {
		qsort(v, n, sizeof *v, NAME(order));
		return;
	}
	to = t;
	for (size_t len = 16; len < n; len *= 2) {
		RANGE *swap = from;

		for (size_t run = 0; run < n; run += 2 * len) {
			size_t mid = run + len < n ? run + len : n;
			size_t end = mid + len < n ? mid + len : n;
			size_t i = run, j = mid;

			for (size_t k = run; k < end; k++) {
				bool left = j == end ||
				    (i < mid && from[i].lo <= from[j].lo);

				to[k] = left ? from[i++] : from[j++];
			}
		}
		from = to;
		to = swap;
	}
	if (from != v)
		memcpy(v, from, n * sizeof *v);
	free(t);
}

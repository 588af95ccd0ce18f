/*
 * replay: gives every file of the folders named to a fuzz target, so that its
 * seeds and its old findings run in every build, with any compiler.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t *
resized(uint8_t *p, size_t n)
{
	uint8_t *q = realloc(p, n);

	if (!q)
		abort();
	return q;
}

static int
one(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *p = NULL;
	size_t n = 0, cap = 0, k;

	if (!f) {
		perror(path);
		return -1;
	}
	do {
		if (n == cap) {
			cap = cap ? 2 * cap : 4096;
			p = resized(p, cap);
		}
		k = fread(p + n, 1, cap - n, f);
		n += k;
	} while (k);
	fclose(f);
	/* Its own size exactly, so that a read past the end is seen. */
	p = resized(p, n ? n : 1);
	LLVMFuzzerTestOneInput(p, n);
	free(p);
	return 0;
}

int
main(int argc, char **argv)
{
	unsigned n = 0;

	for (int i = 1; i < argc; i++) {
		DIR *d = opendir(argv[i]);
		struct dirent *e;

		if (!d) {
			if (one(argv[i]))
				return 1;
			n++;
			continue;
		}
		while ((e = readdir(d))) {
			char path[4096];

			if (e->d_name[0] == '.')
				continue;
			snprintf(path, sizeof path, "%s/%s", argv[i], e->d_name);
			if (one(path))
				return 1;
			n++;
		}
		closedir(d);
	}
	printf("%u inputs\n", n);
	return n ? 0 : 1;
}

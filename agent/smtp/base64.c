#include "smtp/base64.h"

static int
value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool
smtp_base64_read(char *s, size_t n, size_t *length)
{
	size_t out = 0, pad = 0;

	if (n % 4)
		return false;
	while (pad < 2 && pad < n && s[n - 1 - pad] == '=')
		pad++;
	n -= pad;
	for (size_t i = 0; i < n; i += 4) {
		size_t k = n - i < 4 ? n - i : 4;
		unsigned x = 0;

		for (size_t j = 0; j < 4; j++) {
			int v = j < k ? value(s[i + j]) : 0;

			if (v < 0)
				return false;
			x = x * 64 + (unsigned)v;
		}
		/* What the padding leaves over must be nothing. */
		if (k == 1 || (k == 2 && (x & 0xffff)) || (k == 3 && (x & 0xff)))
			return false;
		for (size_t j = 0; j + 1 < k; j++)
			s[out++] = (char)(x >> (16 - 8 * j) & 0xff);
	}
	*length = out;
	return true;
}

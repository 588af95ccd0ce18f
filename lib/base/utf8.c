#include "base/utf8.h"

size_t
utf8_next(const char *s, size_t n, uint32_t *c)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	const unsigned char *u = (const unsigned char *)s;
	uint32_t x;
	size_t k;

	if (!n)
		return 0;
	if (u[0] < 0x80) {
		*c = u[0];
		return 1;
	}
	if ((u[0] & 0xe0) == 0xc0)
		k = 2, x = u[0] & 0x1f;
	else if ((u[0] & 0xf0) == 0xe0)
		k = 3, x = u[0] & 0x0f;
	else if ((u[0] & 0xf8) == 0xf0)
		k = 4, x = u[0] & 0x07;
	else
		return 0;
	if (k > n)
		return 0;
	for (size_t i = 1; i < k; i++) {
		if ((u[i] & 0xc0) != 0x80)
			return 0;
		x = x << 6 | (u[i] & 0x3f);
	}
	if (x < least[k] || x > 0x10ffff || (x >= 0xd800 && x <= 0xdfff))
		return 0;
	*c = x;
	return k;
}

/*
 * Preloaded into Debian 12's OpenSMTPD, which cannot speak TLS without: it keeps its private key in another
 * process and marks the RSA key that it gets out of its certificate's, but from OpenSSL 3 that is a copy. Here
 * what is got is what the certificate's holds from then on. (OpenSMTPD 7.3 sees to that by itself.)
 */
#include <dlfcn.h>
#include <stddef.h>

struct evp_pkey_st;
struct rsa_st;
struct rsa_st *
EVP_PKEY_get1_RSA(struct evp_pkey_st *key);

struct rsa_st *
EVP_PKEY_get1_RSA(struct evp_pkey_st *key)
{
	struct rsa_st *(*get)(struct evp_pkey_st *);
	int (*set)(struct evp_pkey_st *, struct rsa_st *);
	struct rsa_st *r;

	*(void **)&get = dlsym(RTLD_NEXT, "EVP_PKEY_get1_RSA");
	*(void **)&set = dlsym(RTLD_NEXT, "EVP_PKEY_set1_RSA");
	r = get && set ? get(key) : NULL;
	if (r)
		set(key, r);
	return r;
}

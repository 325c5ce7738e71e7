/* Finding libc's functions; see real.h. Any thread. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "os/real.h"

void *os_libc_or_null(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

void *os_libc(const char *name)
{
    void *address = os_libc_or_null(name);

    if (!address) {
        fprintf(stderr, "wakefuzz: libc has no %s\n", name);
        abort();
    }
    return address;
}

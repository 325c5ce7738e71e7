/*
 * Freed memory loses the identities of the objects in it: whether an allocator hands an address out again differs between flavours,
 * and an object that takes a dead one's place must not inherit its history.
 *
 * Any thread. Under a sanitizer its hooks tell; otherwise free() and realloc() of heap.c do.
 * GLib before 2.76 keeps freed blocks in a cache of its own unless the environment says no; here it says no.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/heap.h"
#include "sched/sched.h"

/* GLib asks before main() and before any constructor of the executable, so setenv() would come too late. */
char *getenv(const char *name)
{
    static char no_cache[] = "always-malloc";
    size_t length = strlen(name);

    for (char **variable = environ; variable && *variable; variable++) {
        if (strncmp(*variable, name, length) == 0 && (*variable)[length] == '=') {
            return *variable + length + 1;
        }
    }
    return strcmp(name, "G_SLICE") == 0 ? no_cache : NULL;
}

#ifdef WAKEFUZZ_SANITIZER

extern int __sanitizer_install_malloc_and_free_hooks(void (*)(const volatile void *, size_t), void (*)(const volatile void *));
extern size_t __sanitizer_get_allocated_size(const volatile void *);

static void on_malloc(const volatile void *block, size_t bytes)
{
    (void)block;
    (void)bytes;
}

static void on_free(const volatile void *block)
{
    if (sched_here()) {
        sched_forget((const void *)block, __sanitizer_get_allocated_size(block));
    }
}

void os_heap_leave(void)
{
}

__attribute__((constructor)) static void install_hooks(void)
{
    __sanitizer_install_malloc_and_free_hooks(on_malloc, on_free);
}

#endif

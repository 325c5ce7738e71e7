/* pthread_once() after its scheduling point, for call_once(). Fibers only. */
#ifndef WAKEFUZZ_OS_ONCE_H
#define WAKEFUZZ_OS_ONCE_H

#include <pthread.h>

int os_once(pthread_once_t *control, void (*routine)(void));
void os_once_reset(void);

#endif

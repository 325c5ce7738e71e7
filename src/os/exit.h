/* The end of a thread; see exit.c. */
#ifndef WAKEFUZZ_OS_EXIT_H
#define WAKEFUZZ_OS_EXIT_H

#include "sched/sched.h"

/* For sched_on_thread_end(). On the ending fiber; scheduling points are allowed. */
void os_thread_ending(SchedThread *thread);

#endif

/* The part of the context switch that C can say; see arch.h. */
#include "sched/arch.h"

#include <sys/auxv.h>

#ifndef __x86_64__
#error "src/sched/arch_x86_64.S is the only context switch so far"
#endif

#define HWCAP2_FSGSBASE_ 2u /* Linux: user space may read and write the fs base */

uint8_t sched_arch_slow = 1;

void sched_arch_init(bool force_slow)
{
    sched_arch_slow = force_slow || !(getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE_);
}

void *sched_arch_thread_pointer(void)
{
    return __builtin_thread_pointer();
}

/*
 * What the two halves of RCU share: rcu.c waits for readers, rcu_call.c frees. For these two only.
 */
#ifndef WAKEFUZZ_CORE_RCU_INT_H
#define WAKEFUZZ_CORE_RCU_INT_H

#include <stdbool.h>

/* Many callbacks wait for the grace period, or somebody drains. Any thread. */
bool rcu_call_is_urgent(void);

/* Create the call_rcu thread; end and join it. Main thread. */
void rcu_call_start(void);
void rcu_call_stop(void);

#endif

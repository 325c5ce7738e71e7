/* The constraint filter: reads-from constraints of the plan, laid over any base policy. Engine only. */
#ifndef WAKEFUZZ_SCHED_CONSTRAINT_H
#define WAKEFUZZ_SCHED_CONSTRAINT_H

#include "sched/internal.h"

void sched_constraints_begin(const SchedPlan *plan);
/* The thread's event is known and it can run: sets thread->held and thread->preferred. */
void sched_constraints_classify(SchedThread *thread);
/* It runs, blocks or ends: forget what was classified. */
void sched_constraints_release(SchedThread *thread);
/* A write to object is being done: threads held at it are classified anew; calls changed(thread) for each whose state changes. */
void sched_constraints_written(SchedObject *object, void (*changed)(SchedThread *));
/* A decision is taken; weight is 20 for a yield. True: the budget is spent, give all constraints up: changed(thread) for each held. */
bool sched_constraints_deferred(unsigned weight, void (*changed)(SchedThread *));
/* A preferred thread, or NULL. */
SchedThread *sched_constraints_preferred(SchedRandom *random);
/* One of the held threads; NULL if there is none. */
SchedThread *sched_constraints_any_held(SchedRandom *random);

#endif

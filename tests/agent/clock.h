/*
 * clock: a clock by script, for roles that run as processes of a test: nobody sleeps, and days go by in moments.
 *
 * It stands before the C library's clock_gettime(2), time(2), poll(2) and epoll_wait(2). In a process that has
 * entered, time stands still until the test lets it pass. Who waits there waits for events, and for the script's
 * time: a wait that was reckoned too long is a wait too long here as well, for nothing else wakes a role.
 *
 * The test goes from deadline to deadline: when all that have entered wait for what is not there (no bytes, no
 * thread of theirs at work), the clock is set to the first time at which one of them wants to go on.
 */
#ifndef TEST_CLOCK_H
#define TEST_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

enum { CLOCK_PLACES = 4, CLOCK_SECOND = 1000, CLOCK_MINUTE = 60 * 1000, CLOCK_HOUR = 60 * CLOCK_MINUTE,
	CLOCK_DAY = 24 * CLOCK_HOUR };

/* The test's own side: does what there is to do, without waiting. Whether there was something. */
typedef bool (*clock_side)(void *arg);

/* Before the first fork. `wall` in ms since 1970. */
void
clock_make(uint64_t wall);

/* In the child, before anything else: from now on it lives by the script, in place i. */
void
clock_enter(unsigned i);

/* In the test, before the fork: the place is taken; and once that process has ended. */
void
clock_expect(unsigned i);
void
clock_gone(unsigned i);

/* The script's time, in ms. */
uint64_t
clock_wall(void);
uint64_t
clock_mono(void);

/* Returns when all wait for the clock. Aborts the test when that does not come to be (60 s of real time). */
void
clock_settle(clock_side side, void *arg);

/* So much time passes, of both clocks. */
void
clock_pass(uint64_t ms, clock_side side, void *arg);

/* The wall's clock alone is set, by so much: a host that slept (monotonic time stands still), or one whose clock
 * was wrong. Nobody is woken by it. */
void
clock_jump(int64_t ms);

#endif

#include "together.h"

#include "cmedia.h"

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>

#define MOST 15

static struct {
    pthread_mutex_t lock;
    pthread_cond_t begun, done;
    pthread_t threads[MOST];
    int helpers, ready, busy, ends;
    unsigned round;  // counts the calls
    void (*work)(void *, int);
    void *context;
    int count;
    atomic_int next;
} team = {.lock = PTHREAD_MUTEX_INITIALIZER, .begun = PTHREAD_COND_INITIALIZER,
          .done = PTHREAD_COND_INITIALIZER};

static void take_part(void) {
    int k;
    while ((k = atomic_fetch_add(&team.next, 1)) < team.count) team.work(team.context, k);
}

static void *help(void *nothing) {
    unsigned seen = 0;
    pthread_mutex_lock(&team.lock);
    team.ready++;
    pthread_cond_signal(&team.done);
    for (;;) {
        while (seen == team.round && !team.ends) pthread_cond_wait(&team.begun, &team.lock);
        if (team.ends) break;
        seen = team.round;
        pthread_mutex_unlock(&team.lock);
        take_part();
        pthread_mutex_lock(&team.lock);
        if (--team.busy == 0) pthread_cond_signal(&team.done);
    }
    pthread_mutex_unlock(&team.lock);
    return nothing;
}

void tg_together(void (*work)(void *context, int k), void *context, int count) {
    if (team.helpers == 0 || count < 2) {
        for (int k = 0; k < count; k++) work(context, k);
        return;
    }
    pthread_mutex_lock(&team.lock);
    team.work = work;
    team.context = context;
    team.count = count;
    atomic_store(&team.next, 0);
    team.busy = team.helpers;
    team.round++;
    pthread_cond_broadcast(&team.begun);
    pthread_mutex_unlock(&team.lock);
    take_part();
    pthread_mutex_lock(&team.lock);
    while (team.busy > 0) pthread_cond_wait(&team.done, &team.lock);
    pthread_mutex_unlock(&team.lock);
}

void tg_helpers_start(int count) {
    // An arena of memory for each thread would take its share of the address space.
    mallopt(M_ARENA_MAX, 1);
    while (team.helpers < count && team.helpers < MOST &&
           pthread_create(&team.threads[team.helpers], 0, help, 0) == 0)
        team.helpers++;
    // A thread's first steps are system calls that the sandbox does not know.
    pthread_mutex_lock(&team.lock);
    while (team.ready < team.helpers) pthread_cond_wait(&team.done, &team.lock);
    pthread_mutex_unlock(&team.lock);
}

void tg_helpers_end(void) {
    pthread_mutex_lock(&team.lock);
    team.ends = 1;
    pthread_cond_broadcast(&team.begun);
    pthread_mutex_unlock(&team.lock);
    while (team.helpers > 0) pthread_join(team.threads[--team.helpers], 0);
    team.ends = 0;
}

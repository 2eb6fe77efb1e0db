/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The load loop as a Spin model: counts on the nodes, reports that are lost,
 * late or doubled, Managers that crash and take over from each other, tables
 * under (term, sequence), and nodes that only move forward.
 *
 * What holds in every state that can be reached:
 *
 *   forward   the version of a node's table never goes back (rule 4)
 *   unique    two different tables never share one version
 *   sums      a Manager never knows of more than was counted (rule 2)
 *
 * After at most FAULTS faults every run comes to its end (checked apart: there
 * is no cycle among the states), and there
 *
 *   progress  one Manager is in charge, knows all counts, and every node
 *             holds its last table (rule 5)
 *
 * Two ways to coordinate, chosen when the model is built:
 *
 *   (default) The Manager in charge holds a lock. Its session may end while it
 *             lives; it then goes on publishing until it notices. Each taking
 *             of the lock gets a term of its own.
 *   -DSTATIC  No lock: nodes have a list of Managers, and each Manager
 *             publishes for the nodes it hears. One that hears of a newer
 *             table than its own goes on above it.
 *
 * What keeps it small, and why nothing is lost by it:
 * - A report and its answer are one step: what happens between them could as
 *   well happen before or after. Only a report that its agent no longer waits
 *   for is kept, and arrives whenever it likes.
 * - A report or a question that is lost changes nothing; the next one is it.
 * - A step that would change nothing is not made, so a quiet system is an end
 *   state.
 * - There is one content. A report lists it or, unchanged, does not: enough
 *   for a count to be missed.
 * - A Manager publishes what is new at once. A node may see it any time later.
 * - New boots of a counter file and reports in parts are left to
 *   core/demand_merge_test.c and core/loop_property_test.c, and time is no
 *   matter: each step may come arbitrarily late.
 *
 * Each MUTANT_ takes away one thing that the rules need, and an error must be
 * found. README.md lists them.
 */

#define NODES 2
#define MANAGERS 2
#define NOBODY MANAGERS
#ifndef REQUESTS
#define REQUESTS 1 /* that each node counts */
#endif
#ifndef FAULTS
#define FAULTS 2 /* in one run, of any kinds */
#endif

typedef version {
    byte term;
    byte sequence;
}
#define is_newer(a, b) \
    (a.term > b.term || (a.term == b.term && a.sequence > b.sequence))
#define is_equal(a, b) (a.term == b.term && a.sequence == b.sequence)

typedef table {
    version at;
    byte known[NODES]; /* what it was made from, see manager.known */
}
#define is_unique(a, b) \
    (!is_equal(a.at, b.at) || \
     (a.known[0] == b.known[0] && a.known[1] == b.known[1]))

typedef report {
    bool sent;
    byte to;
    byte base;      /* it lists what changed since; 0: it lists all */
    bool is_listed; /* it lists the content, with this value: */
    byte value;     /* cumulative; under MUTANT_SUM the difference */
    version held;
}

typedef node {
    byte count;
    table file;    /* in place for nginx; outlives the agent */
    version held;  /* what the agent believes of it */
    byte to;       /* the Manager that the agent talks to */
    byte base;     /* 0: nothing was acknowledged to this run of the agent;
                    * else 1 + the count that was */
    report late;   /* nobody waits for it, and it may still arrive */
}

typedef manager {
    bool is_leader; /* so it believes */
    byte known[NODES]; /* 0: never heard; else 1 + the greatest count seen */
    version at;
    table published;
#ifdef STATIC
    bool is_up;
    byte tag; /* of this run of the program: makes its terms its own */
#endif
}

node nodes[NODES];
manager managers[MANAGERS];
byte faults; /* so far */

/* The properties by name, and what one step hands on; no part of the state. */
hidden byte forward, unique, sums, progress;
hidden byte was_base;
hidden byte was_listed;
hidden byte was_value;

/* ---- publishing ---- */

inline publish(m)
{
    managers[m].at.sequence++;
    managers[m].published.at.term = managers[m].at.term;
    managers[m].published.at.sequence = managers[m].at.sequence;
    managers[m].published.known[0] = managers[m].known[0];
    managers[m].published.known[1] = managers[m].known[1];
    unique = is_unique(managers[m].published, managers[1 - m].published) &&
        is_unique(managers[m].published, nodes[0].file) &&
        is_unique(managers[m].published, nodes[1].file);
    assert(unique)
}

#define is_publishable(m) \
    (managers[m].is_leader && \
     (managers[m].known[0] != 0 || managers[m].known[1] != 0))

inline publish_if_new(m)
{
    if
    :: is_publishable(m) && \
       (managers[m].at.sequence == 0 || \
        managers[m].known[0] != managers[m].published.known[0] || \
        managers[m].known[1] != managers[m].published.known[1]) -> publish(m)
    :: else
    fi
}

/* ---- who is in charge, and under which term ---- */

#ifdef STATIC

#define RUNS 8   /* starts of Managers, at most */
#define in_charge 0 /* the first in the list, once all are up */
/* The second in which Managers start, all in the same: other clocks only set
 * more terms apart. */
#define CLOCK 1
byte starts;

#define is_up(m) managers[m].is_up
#define have_managers (starts >= MANAGERS)
#ifdef MUTANT_TERM
#define term_of(round, m) (round)
#define round_of(term) (term)
#else
#define term_of(round, m) ((round) * RUNS + managers[m].tag)
#define round_of(term) ((term) / RUNS)
#endif

inline start(m)
{
    assert(starts < RUNS);
    managers[m].is_up = true;
    managers[m].is_leader = true;
    managers[m].tag = starts;
    starts++;
    managers[m].at.term = term_of(CLOCK, m)
}

inline outgrow(m, above)
{
    if
    :: is_newer(above, managers[m].at) ->
        assert(round_of(above.term) < 30);
        managers[m].at.term = term_of(round_of(above.term) + 1, m);
        managers[m].at.sequence = 0
    :: else
    fi
}

#else

byte owner = NOBODY; /* of the lock */
byte generation;     /* kept beside the lock; raised by who takes it */
#define in_charge owner

#define is_up(m) true /* crash and restart are one step */
#define have_managers (generation > 0)

inline lock_take(m)
{
    owner = m;
#ifdef MUTANT_TERM
    generation = 1;
#else
    generation++;
#endif
    managers[m].is_leader = true;
    managers[m].at.term = generation;
    managers[m].at.sequence = 0
}

inline outgrow(m, above)
{
#ifdef MUTANT_OUTGROW
    if
    :: managers[m].is_leader && is_newer(above, managers[m].at) ->
        managers[m].at.term = above.term + 1;
        managers[m].at.sequence = 0
    :: else
    fi
#else
    skip
#endif
}

#endif

/* ---- reports ---- */

/*
 * A report of what changed is of use only to who has what it builds on: that
 * may have been acknowledged by another Manager, or by this one before it was
 * restarted. Else the Manager asks for everything, which is part of the same
 * step here. (With one content, its count stands for the sequence.)
 */
#ifdef MUTANT_BASE
#define has_base(m, n, base_told) (managers[m].known[n] != 0)
#else
#define has_base(m, n, base_told) (managers[m].known[n] >= (base_told))
#endif
#define base_of(n) \
    (has_base(nodes[n].to, n, nodes[n].base) -> nodes[n].base : 0)
#define is_listed_due(n) \
    (base_of(n) == 0 || nodes[n].count + 1 != nodes[n].base)
#ifdef MUTANT_SUM
#define value_of(n) \
    (nodes[n].base == 0 -> nodes[n].count \
                        : nodes[n].count + 1 - nodes[n].base)
#else
#define value_of(n) nodes[n].count
#endif

/* It would tell its Manager something. */
#ifdef MUTANT_IDLE
#define is_report_due(n) true
#elif defined(STATIC)
#define is_report_due(n) \
    (is_up(nodes[n].to) && \
     (is_listed_due(n) || \
      is_newer(nodes[n].held, managers[nodes[n].to].at)))
#else
#define is_report_due(n) is_listed_due(n)
#endif

inline merge(m, n, base_told, has_it, count_told, above)
{
    if
    :: base_told != 0 && !has_base(m, n, base_told)
    :: else ->
        if
        :: managers[m].known[n] == 0 -> managers[m].known[n] = 1
        :: else
        fi;
        if
#ifdef MUTANT_SUM
        :: has_it -> managers[m].known[n] = managers[m].known[n] + count_told
#else
        :: has_it && count_told + 1 > managers[m].known[n] ->
            managers[m].known[n] = count_told + 1
#endif
        :: else
        fi
    fi;
    sums = managers[m].known[n] <= nodes[n].count + 1;
    assert(sums);
    outgrow(m, above);
    publish_if_new(m)
}

inline report_arrives(n)
{
    was_base = base_of(n);
    was_listed = is_listed_due(n);
    was_value = value_of(n);
    merge(nodes[n].to, n, was_base, was_listed, was_value, nodes[n].held)
}

inline report_is_answered(n)
{
    nodes[n].base = nodes[n].count + 1
}

inline report_is_kept(n)
{
    nodes[n].late.sent = true;
    nodes[n].late.to = nodes[n].to;
    nodes[n].late.base = base_of(n);
    nodes[n].late.is_listed = is_listed_due(n);
    nodes[n].late.value = value_of(n);
#ifdef STATIC
    nodes[n].late.held.term = nodes[n].held.term;
    nodes[n].late.held.sequence = nodes[n].held.sequence;
#endif
    skip
}

inline late_arrives(n)
{
    if
    :: is_up(nodes[n].late.to) ->
        merge(nodes[n].late.to, n, nodes[n].late.base,
              nodes[n].late.is_listed, nodes[n].late.value,
              nodes[n].late.held)
    :: else
    fi;
    nodes[n].late.sent = false;
    nodes[n].late.to = 0;
    nodes[n].late.base = 0;
    nodes[n].late.is_listed = false;
    nodes[n].late.value = 0;
    nodes[n].late.held.term = 0;
    nodes[n].late.held.sequence = 0
}

/* ---- nodes ---- */

/* Whom a node may get a table from: where there is a lock, also from one that
 * lost it. */
#ifdef STATIC
#define is_asked(n, m) (is_up(m) && nodes[n].to == m)
#else
#define is_asked(n, m) true
#endif
#ifdef MUTANT_BACKWARDS
#define is_taken(n, m) \
    (managers[m].published.at.term != 0 && \
     !is_equal(managers[m].published.at, nodes[n].held))
#else
#define is_taken(n, m) is_newer(managers[m].published.at, nodes[n].held)
#endif

inline install(n, m)
{
    forward = is_newer(managers[m].published.at, nodes[n].file.at);
    assert(forward);
    nodes[n].file.at.term = managers[m].published.at.term;
    nodes[n].file.at.sequence = managers[m].published.at.sequence;
    nodes[n].file.known[0] = managers[m].published.known[0];
    nodes[n].file.known[1] = managers[m].published.known[1];
    nodes[n].held.term = nodes[n].file.at.term;
    nodes[n].held.sequence = nodes[n].file.at.sequence
}

inline agent_restart(n)
{
    nodes[n].base = 0;
#ifdef MUTANT_FORGET
    nodes[n].held.term = 0;
    nodes[n].held.sequence = 0;
#endif
    skip
}

inline manager_forget(m)
{
    managers[m].is_leader = false;
    managers[m].known[0] = 0;
    managers[m].known[1] = 0;
    managers[m].at.term = 0;
    managers[m].at.sequence = 0;
    managers[m].published.at.term = 0;
    managers[m].published.at.sequence = 0;
    managers[m].published.known[0] = 0;
    managers[m].published.known[1] = 0
}

/* ---- the processes: each choice is one step ---- */

#define n _pid
active [NODES] proctype agent() provided (have_managers)
{
end:
    do
    :: d_step { nodes[n].count < REQUESTS -> nodes[n].count++ }
    :: d_step { is_report_due(n) ->
            report_arrives(n);
            report_is_answered(n)
        }
    :: d_step { is_asked(n, 0) && is_taken(n, 0) -> install(n, 0) }
    :: d_step { is_asked(n, 1) && is_taken(n, 1) -> install(n, 1) }
    /* it finds the Manager to talk to */
#ifdef STATIC
    :: d_step { !is_up(nodes[n].to) -> nodes[n].to = 1 - nodes[n].to }
#ifndef MUTANT_STAY
    :: d_step { nodes[n].to != 0 && is_up(0) -> nodes[n].to = 0 }
#endif
#else
    :: d_step { owner != NOBODY && nodes[n].to != owner ->
            nodes[n].to = owner
        }
#endif
    /* faults */
    :: d_step { faults < FAULTS -> /* it crashes, and is started again */
            faults++;
            agent_restart(n)
        }
    :: d_step { faults < FAULTS && is_report_due(n) -> /* an answer is lost */
            faults++;
            report_arrives(n)
        }
    :: d_step { faults < FAULTS && is_report_due(n) -> /* a report is late */
            faults++;
            report_is_kept(n)
        }
    :: d_step { faults < FAULTS && is_report_due(n) -> /* it comes twice */
            faults++;
            report_is_kept(n);
            report_arrives(n);
            report_is_answered(n)
        }
#ifdef STATIC
    :: d_step { faults < FAULTS -> /* one request fails, all are well */
            faults++;
            nodes[n].to = 1 - nodes[n].to
        }
#endif
    :: d_step { nodes[n].late.sent -> late_arrives(n) }
    od
}
#undef n

#define m (_pid - NODES)
active [MANAGERS] proctype server()
{
end:
    do
#ifdef STATIC
    :: d_step { !is_up(m) -> start(m) }
    :: d_step { faults < FAULTS && is_up(m) -> /* it crashes */
            faults++;
            manager_forget(m);
            managers[m].is_up = false
        }
#else
    /* the Managers are alike: say that the first one is number 0 */
    :: d_step { owner == NOBODY && !managers[m].is_leader &&
            (generation > 0 || m == 0) ->
            lock_take(m);
            publish_if_new(m)
        }
    :: d_step { owner != m && managers[m].is_leader -> /* it notices */
            managers[m].is_leader = false
        }
    :: d_step { owner == m && !managers[m].is_leader -> /* it died with it */
            owner = NOBODY
        }
    /* faults */
    :: d_step { faults < FAULTS -> /* it crashes, and is started again */
            faults++;
            manager_forget(m)
        }
    :: d_step { faults < FAULTS && owner == m -> /* it stops in order */
            faults++;
            owner = NOBODY;
            manager_forget(m)
        }
    :: d_step { faults < FAULTS && owner == m -> /* its session ends */
            faults++;
            owner = NOBODY
        }
#endif
    od
}
#undef m

#define is_up_to_date(n) \
    (nodes[n].count == REQUESTS && \
     managers[in_charge].known[n] == REQUESTS + 1 && \
     is_equal(nodes[n].file.at, managers[in_charge].published.at) && \
     nodes[n].file.known[0] == REQUESTS + 1 && \
     nodes[n].file.known[1] == REQUESTS + 1)

/* Where nothing is left to do. */
active proctype judge()
{
    timeout ->
    d_step {
        progress = false;
        if
        :: in_charge != NOBODY ->
            progress = managers[in_charge].is_leader &&
                is_up_to_date(0) && is_up_to_date(1)
        :: else
        fi
    }
    assert(progress)
}

/*
 * guide: the part of mailreeve-policy(5) that no row of keys can tell: how a
 * policy is read as a whole. Paragraphs are divided by empty lines; a line that
 * begins with two blanks is an example and keeps its breaks.
 */
#include "policy/keys.h"

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

static const struct {
	const char *title;
	const char *text;
} section[] = {
	{"HOW A POLICY IS READ",
	    "A policy is one YAML file, with files that it includes. The order of keys and of "
	    "statements never matters. Nothing is guessed: a key that is not known, a key said "
	    "twice, an empty list, a set that is empty for one family without saying so, and two "
	    "statements that disagree are errors, and nothing is written then.\n\n"
	    "A point is a place where rules run: a router, which forwards, or a host, which sends "
	    "and receives. A router has zones; each zone has the addresses inside it and may say "
	    "what holds for outbound connections (from inside to outside) and for inbound ones. A "
	    "direction that is not written is not judged. A host has no zones: outbound is what its "
	    "programs send, inbound what reaches them, and loopback is not judged.\n\n"
	    "Only the first packet of a TCP connection is judged. Replies, other protocols, and "
	    "ports that the policy does not name are never touched: this is a mail policy beside "
	    "other rules, not a whole firewall.\n\n"
	    "  mailreeve: 1\n"
	    "  name: blocked-campus\n"
	    "  networks:\n"
	    "    campus: {ranges: [192.0.2.0/24, \"2001:db8:10::/48\"]}\n"
	    "  points:\n"
	    "    border:\n"
	    "      kind: router\n"
	    "      zones:\n"
	    "        campus:\n"
	    "          inside: campus\n"
	    "          outbound: {block: {ports: [smtp]}, otherwise: untouched}"},
	{"WHO WINS",
	    "For one zone and direction the first of these that matches decides: `exempt`, then "
	    "`relays`, then `block`, then `roaming`, then `otherwise`. An exemption and a relay are "
	    "exceptions to a block; that is what they are for. A block and roaming on the same "
	    "traffic contradict each other and are an error that shows both places; so are two "
	    "blocks of which one rejects and the other drops.\n\n"
	    "`otherwise: untouched` leaves the rest alone. `otherwise: deny` refuses the mail ports "
	    "25, 110, 143, 465, 587, 993 and 995 over TCP where nothing else allowed them, and leaves "
	    "everything else alone.\n\n"
	    "A connection from one zone to another is judged twice, by the outbound statements of "
	    "the first and the inbound statements of the second, and a refusal wins. A connection "
	    "that stays inside a zone is never touched; `internal:` names further networks that count "
	    "as inside the same institution."},
	{"RELAYS",
	    "A relay is declared once. Its `ranges` open the firewall, its `host`, `endpoints`, `tls` "
	    "and `auth` drive the forwarder. `ports:` says what the ranges open: the ports of the "
	    "endpoints (the default), a list, or `all`.\n\n"
	    "Outbound, a relay's statement allows connections to its ranges on those ports; where "
	    "the relay stands inside the zone, it allows what the relay itself sends out, on any TCP "
	    "port. Inbound, it allows new connections from its ranges to those ports, and to a relay "
	    "that stands inside. `clients:` says who may reach the relay; others are judged by the "
	    "statements behind it, so it takes a block or `otherwise: deny` to keep them out."},
	{"REFUSING",
	    "`with: reject` answers with a TCP reset, so that a program fails at once; `with: drop` "
	    "says nothing. Outbound rejects unless told otherwise, inbound drops. `log: true` hands "
	    "each refused packet to nflog group 587.\n\n"
	    "`mode: observe` at a point counts and logs what would be refused and refuses nothing: "
	    "the way to try a policy on a live network. What is observed passes, so the point's tests "
	    "then say `expect: allow`."},
	{"DATES",
	    "`since` begins with its day and `until` ends with its day, in the policy's `timezone`. "
	    "Both go into the kernel as seconds, so an exemption ends by itself, without a new "
	    "compilation, and the compiled text does not depend on the day it was made.\n\n"
	    "A connection that was made before an exemption ended lives on: only first packets are "
	    "judged. To end such connections at once, delete them from the kernel's table, for "
	    "example with `conntrack -D -p tcp --orig-port-dst 25` (package conntrack). A block that "
	    "has an `until` opens by itself when that day is over; lint says so."},
	{"LIMITS",
	    "`limit` refines what was allowed: connections for each source (or all together) in a "
	    "window, and what is done above: log, reject or drop. In the kernel it is a token bucket: "
	    "it starts full and fills evenly, so at most twice the figure passes in one window. IPv6 "
	    "sources are counted by /64. The kernel remembers 65,535 sources; when it can remember no "
	    "more, a new source counts as over the limit. `to:` narrows a limit to destinations; all ports "
	    "that are allowed there count."},
	{"FAMILIES",
	    "Write both families, or say which one is meant: `families: ipv4` on a network or relay "
	    "that has no IPv6 addresses. A rule whose set is empty for one family would leave a hole "
	    "there, or open everything, so it is an error. A literal address in a statement speaks "
	    "for its own family.\n\n"
	    "In a flow list an IPv6 address needs quotes: [192.0.2.1, \"2001:db8::1\"]."},
	{"NAMES OF HOSTS",
	    "A rule never holds a host name: what it means would change with the DNS, silently. A "
	    "relay's `host` is for the forwarder, which resolves it at each connection and uses only "
	    "addresses that lie in the relay's ranges."},
	{"LOADING THE RULES",
	    "By default the rules are base chains in a table of their own, `inet mailreeve` for a router "
	    "and `inet mailreeve-host` for a host; a machine runs at most one point of each kind. An accept "
	    "in one nftables chain cannot overrule a drop in another, so beside other rules they can "
	    "only narrow. Load the text with `nft -f FILE`: it replaces that table as a whole, in one "
	    "transaction, and touches no other.\n\n"
	    "The kernel fills a set at the very end of the transaction that makes it, so for some "
	    "milliseconds after a replacement (5 for 10,000 ranges, 60 for 100,000) sets are empty and "
	    "packets pass or fail that should not. To replace the rules under traffic without that, "
	    "load them in two files, which take turns with two tables:\n\n"
	    "  mailreeve compile POLICY --part stage --slot b -o stage.nft\n"
	    "  mailreeve compile POLICY --part swap --slot b -o swap.nft\n"
	    "  nft -f stage.nft && nft -f swap.nft\n\n"
	    "and the next time with --slot a. `nft list ruleset` shows dates by the clock of whoever "
	    "lists them.\n\n"
	    "With `as: chains` the rules are regular chains in `table inet filter`, hooked nowhere; the "
	    "administrator's own chains jump to them, for example with `jump mailreeve-forward` in the "
	    "forward chain of the same table. There what the policy allows is accepted, what it "
	    "refuses is refused, and what it leaves untouched returns to the caller. A reload empties and fills our chains; "
	    "sets and chains that a new version no longer uses stay behind, unused.\n\n"
	    "A router's own output is not forwarded, so a router point does not cover it. A host point "
	    "covers what it forwards for containers too, judged as outbound, unless it says "
	    "`containers: untouched`. `state: syn` judges by the TCP flags of the first packet, for "
	    "routers that keep no connection state."},
	{"PROVING IT",
	    "`tests:` are packets and messages with the fate they must meet, run by `mailreeve test`. "
	    "A packet test without a date must hold on every day; with a date, over that whole day. "
	    "`expect: allow` covers what is untouched; `deny` covers reject and drop.\n\n"
	    "  tests:\n"
	    "    - {at: border, probe: \"tcp 192.0.2.9 -> 203.0.113.1:25\", expect: reject}\n"
	    "    - {at: border, probe: \"tcp [2001:db8:10::9] -> [2001:db8::1]:587\", expect: allow}"},
};

/* Text for roff: `word` in bold, examples without filling. */
static void
put(struct buf *out, const char *s)
{
	bool bold = false, start = true, example = false;

	for (; *s; s++) {
		if (start && s[0] == ' ' && s[1] == ' ' && !example) {
			buf_str(out, ".PP\n.RS 4\n.nf\n");
			example = true;
		} else if (start && example && *s == '\n') {
			buf_str(out, ".fi\n.RE\n");
			example = false;
		}
		if (start && example)
			s += 2;
		if (start && (*s == '.' || *s == '\''))
			buf_str(out, "\\&");
		start = *s == '\n';
		switch (*s) {
		case '\n':
			buf_str(out, s[1] == '\n' && !example ? "\n.PP" : "\n");
			break;
		case '\\':
			buf_str(out, "\\e");
			break;
		case '-':
			buf_str(out, "\\-");
			break;
		case '"':
			buf_str(out, "\\(dq");
			break;
		case '`':
			bold = !bold;
			buf_str(out, bold ? "\\fB" : "\\fR");
			break;
		default:
			buf_chr(out, *s);
		}
	}
	buf_chr(out, '\n');
	if (example)
		buf_str(out, ".fi\n.RE\n");
}

void
policy_guide_print(struct buf *out)
{
	for (size_t i = 0; i < sizeof section / sizeof *section; i++) {
		buf_printf(out, ".SH %s\n", section[i].title);
		put(out, section[i].text);
	}
}

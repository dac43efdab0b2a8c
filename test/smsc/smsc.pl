# The same message centre on Perl's Net::SMPP: a third implementation of the protocol, and Perl's own alphabets.
use strict;
use warnings;
use Encode qw(decode);
use IO::Select;
use JSON::PP;
use Net::SMPP;

$SIG{PIPE} = 'IGNORE';
$SIG{__WARN__} = sub { };    # it warns of each connection that ends
$| = 1;
my ($user, $password) = @ARGV;
my ($mood, $taken, $input) = ('accept', 0, '');
my $json   = JSON::PP->new->utf8;
my $listen = Net::SMPP->new_listen('127.0.0.1', port => 0, smpp_version => 0x34) or die "listen: $!";
my $select = IO::Select->new(\*STDIN, $listen);
my %lines;

sub say_ { print $json->encode({@_}), "\n" }

sub drop {
    my $line = shift;
    $select->remove($line);
    delete $lines{$line};
    close $line;
}

sub part {
    my $pdu  = shift;
    my $text = $pdu->{short_message};
    my @concat = (0, 0, 0);
    if ($pdu->{esm_class} & 0x40) {
        my $header = substr $text, 0, 1 + ord $text, '';
        @concat = unpack 'x3CCC', $header if substr($header, 1, 2) eq "\0\3";
    }
    my $ref = $pdu->{user_message_reference};
    say_(part => {
        From => $pdu->{source_addr}, FromType => $pdu->{source_addr_ton}, FromPlan => $pdu->{source_addr_npi},
        To => $pdu->{destination_addr}, ToType => $pdu->{dest_addr_ton}, ToPlan => $pdu->{dest_addr_npi},
        Coding => $pdu->{data_coding}, ESM => $pdu->{esm_class}, Receipt => $pdu->{registered_delivery},
        Ref => defined $ref ? unpack('n', $ref) : 0, Concat => \@concat, Validity => "$pdu->{validity_period}",
        Text => decode($pdu->{data_coding} == 8 ? 'UTF-16BE' : 'gsm0338', $text),
    });
}

sub hear {
    my $line = shift;
    my $pdu = $line->read_pdu or return drop($line);
    my ($seq, $name) = ($pdu->{seq}, $pdu->explain_cmd);
    return say_(told => 1) if $name eq 'deliver_sm_resp';
    if ($name eq 'unbind') {
        say_(unbound => 1);
        $line->unbind_resp(seq => $seq);
        return drop($line);
    }
    return if $mood eq 'hang';
    return $line->enquire_link_resp(seq => $seq) if $name eq 'enquire_link';
    if ($name eq 'bind_transceiver') {
        my $ok = $pdu->{system_id} eq $user && $pdu->{password} eq $password;
        return $line->bind_transceiver_resp(seq => $seq, system_id => 'perl', status => $ok ? 0 : 0x0e);
    }
    return if $name ne 'submit_sm';
    return drop($line) if $mood eq 'cut';
    return $line->submit_sm_resp(seq => $seq, message_id => '', status => 0x0b) if $mood eq 'bad';
    return $line->submit_sm_resp(seq => $seq, message_id => '', status => 0x58) if $mood eq 'busy';
    $taken++;
    part($pdu);
    $line->submit_sm_resp(seq => $seq, message_id => sprintf 'm_%04x', $taken);
}

sub obey {
    my $command = $json->decode(shift);
    $mood = $command->{mood} if $command->{mood};
    if ($command->{cut}) { drop($_) for values %lines }
    if (my $r = $command->{receipt}) {
        my @fields = (esm_class => 4, short_message => $r->{text}, source_addr => '4915112345678', destination_addr => '12345', async => 1);
        push @fields, receipted_message_id => "$r->{id}\0" if $r->{id};
        push @fields, message_state => chr $r->{state} if $r->{state};
        $_->deliver_sm(@fields) for values %lines;
    }
    say_(done => 1);
}

say_(port => $listen->sockport);
while (1) {
    for my $ready ($select->can_read) {
        if ($ready == $listen) {
            my $line = $listen->accept or next;
            $select->add($line);
            $lines{$line} = $line;
        } elsif ($ready == \*STDIN) {
            sysread(STDIN, $input, 65536, length $input) or exit 0;
            obey($1) while $input =~ s/^(.*)\n//;
        } elsif ($lines{$ready}) {
            hear($ready);
        }
    }
}

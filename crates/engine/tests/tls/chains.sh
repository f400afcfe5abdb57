# Makes chains in the working directory: NAME.leaf, NAME.sent (what comes with it), NAME.trusted and NAME.key, for each kind that
# OpenSSL's verifier has an opinion of. Prints the names.
set -eu
q() { openssl "$@" 2>>log; }

: > log
printf '%s\n' '[req]' 'distinguished_name = dn' '[dn]' > empty.cnf
cat > ca.cnf <<'END'
[ca]
default_ca = any
[any]
database = index.txt
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = policy
unique_subject = no
[policy]
commonName = supplied
END
: > index.txt

key() { # key FILE [KIND]
	case ${2:-p256} in
		p256) q ecparam -name prime256v1 -genkey -noout -out "$1" ;;
		p224) q ecparam -name secp224r1 -genkey -noout -out "$1" ;;
		p384) q ecparam -name secp384r1 -genkey -noout -out "$1" ;;
		p521) q ecparam -name secp521r1 -genkey -noout -out "$1" ;;
		explicit) q ecparam -name prime256v1 -genkey -noout -param_enc explicit -out "$1" ;;
		rsa*) q genrsa -out "$1" "${2#rsa}" ;;
		pss) q genpkey -algorithm rsa-pss -pkeyopt rsa_keygen_bits:2048 -out "$1" ;;
		*) q genpkey -algorithm "$2" -out "$1" ;;
	esac
}

# make NAME ISSUER EXTENSIONS [KIND [START END]]: NAME.crt and NAME.key; ISSUER "-" for one that signs itself.
# $subject has another name for it, $sign more options for the signature.
make() {
	[ -e "$1.key" ] || key "$1.key" "${4:-p256}"
	printf '%b' "$3" > extensions
	q req -new -config empty.cnf -key "$1.key" -subj "/CN=${subject:-$1}" -out request
	by="-CA $2.crt -CAkey $2.key"; with="-cert $2.crt -keyfile $2.key"
	[ "$2" != - ] || { by="-signkey $1.key"; with="-selfsign -keyfile $1.key"; }
	if [ -n "${5:-}" ]; then
		q ca -batch -config ca.cnf $with -in request -startdate "$5" -enddate "$6" -extfile extensions -notext -out "$1.crt"
	elif [ -n "$3" ]; then
		q x509 -req -in request $by -CAcreateserial -days 30 -extfile extensions ${sign:-} -out "$1.crt"
	else
		q x509 -req -in request $by -CAcreateserial -days 30 ${sign:-} -out "$1.crt"
	fi
}

# chain NAME TRUSTED SENT...: the first that is sent is the leaf.
chain() {
	name=$1; shift
	: > "$name.trusted"
	for ca in $1; do cat "$ca.crt" >> "$name.trusted"; done
	shift
	cp "$1.crt" "$name.leaf"; cp "$1.key" "$name.chainkey"; shift
	: > "$name.sent"
	for sent; do cat "$sent.crt" >> "$name.sent"; done
	echo "$name"
}

CA='basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n'
LEAF='subjectAltName=DNS:leaf.test\n'

make root - "$CA"; make other - "$CA"; make mid root "$CA"; make leaf root "$LEAF"; make below mid "$LEAF"
chain good root leaf
chain good-with-intermediate root below mid
chain good-with-root-sent root below mid root
chain good-out-of-order root below root other mid
chain unknown-issuer other leaf
chain unknown-issuer-sent other leaf root
chain unknown-intermediate other below mid
chain missing-intermediate root below
chain intermediate-trusted-alone mid below
chain intermediate-trusted-and-sent mid below mid
chain leaf-trusted-alone leaf leaf
chain nothing-in-common other leaf other

make self - "$LEAF"; make self-no-ca - "basicConstraints=critical,CA:FALSE\n$LEAF"
make self-no-sign - "keyUsage=digitalSignature\n$LEAF"; make self-ca - "$CA$LEAF"
make self-old - "$LEAF" p256 20200101000000Z 20210101000000Z; make v1 - ''
for one in self self-no-ca self-no-sign self-ca self-old v1; do
	chain "$one-unknown" other "$one"
	chain "$one-pinned" "$one" "$one"
	make "under-$one" "$one" "$LEAF"
	chain "$one-vouches" "$one" "under-$one"
	chain "$one-vouches-and-sent" "$one" "under-$one" "$one"
done
# Of the same name and another key
subject=root make mimic - "$CA"; make under-mimic mimic "$LEAF"
chain mimic root mimic
chain mimic-vouches root under-mimic mimic

make leaf-old root "$LEAF" p256 20200101000000Z 20210101000000Z; chain leaf-old root leaf-old
make leaf-early root "$LEAF" p256 20480101000000Z 20490101000000Z; chain leaf-early root leaf-early
make mid-old root "$CA" p256 20200101000000Z 20210101000000Z; make l1 mid-old "$LEAF"; chain intermediate-old root l1 mid-old
make root-old - "$CA" p256 20200101000000Z 20210101000000Z; make l2 root-old "$LEAF"; chain root-old root-old l2
make root-early - "$CA" p256 20480101000000Z 20490101000000Z; make l3 root-early "$LEAF"; chain root-early root-early l3
make unknown-and-old other "$LEAF" p256 20200101000000Z 20210101000000Z; chain unknown-and-old root unknown-and-old

make below-old mid "$LEAF" p256 20200101000000Z 20210101000000Z; chain below-old root below-old mid
make d1 root "$CA"; make d2 d1 "$CA"; make d3 d2 "$CA"; make deepest d3 "$LEAF"
chain deep root deepest d3 d2 d1; chain deep-with-root-sent root deepest d3 d2 d1 root; chain deep-unknown other deepest d3 d2 d1
make mid-leaf root 'basicConstraints=CA:FALSE\n'; make l4 mid-leaf "$LEAF"; chain intermediate-no-ca root l4 mid-leaf
make mid-plain root 'subjectKeyIdentifier=hash\n'; make l5 mid-plain "$LEAF"; chain intermediate-without-constraints root l5 mid-plain
make mid-no-sign root 'basicConstraints=CA:TRUE\nkeyUsage=cRLSign\n'; make l6 mid-no-sign "$LEAF"
chain intermediate-no-sign root l6 mid-no-sign
make root-no-sign - 'basicConstraints=CA:TRUE\nkeyUsage=cRLSign\n'; make l7 root-no-sign "$LEAF"; chain root-no-sign root-no-sign l7
make root-only-sign - 'keyUsage=keyCertSign\n'; make l8 root-only-sign "$LEAF"; chain root-without-constraints root-only-sign l8

make short-root - "basicConstraints=CA:TRUE,pathlen:0\n"; make m1 short-root "$CA"; make l9 m1 "$LEAF"
chain pathlen-of-root short-root l9 m1
make l10 short-root "$LEAF"; chain pathlen-of-root-kept short-root l10
make short-mid root "basicConstraints=CA:TRUE,pathlen:0\n"; make m2 short-mid "$CA"; make l11 m2 "$LEAF"
chain pathlen-of-intermediate root l11 m2 short-mid
make leaf-ca root "$CA$LEAF"; chain leaf-is-ca root leaf-ca
make leaf-pathlen root "basicConstraints=CA:TRUE,pathlen:0\n$LEAF"; chain leaf-has-pathlen root leaf-pathlen

make narrow - "${CA}nameConstraints=permitted;DNS:elsewhere.test\n"; make l12 narrow "$LEAF"; chain names-of-root narrow l12
make narrow-mid root "${CA}nameConstraints=excluded;DNS:leaf.test\n"; make l13 narrow-mid "$LEAF"; chain names-of-intermediate root l13 narrow-mid
make narrow-ok root "${CA}nameConstraints=permitted;DNS:leaf.test\n"; subject=leaf.test make l14 narrow-ok "$LEAF"; chain names-kept root l14 narrow-ok
subject=elsewhere.test make l15 narrow-ok 'keyUsage=digitalSignature\n'; chain names-of-subject root l15 narrow-ok
make l16 narrow "$LEAF" p256 20200101000000Z 20210101000000Z; chain names-and-old narrow l16

make client-only root "extendedKeyUsage=clientAuth\n$LEAF"; chain for-clients root client-only
make server-only root "extendedKeyUsage=serverAuth\n$LEAF"; chain for-servers root server-only
make mail root "extendedKeyUsage=emailProtection\n$LEAF"; chain for-mail root mail
make any root "extendedKeyUsage=anyExtendedKeyUsage\n$LEAF"; chain for-anything root any
make client-root - "${CA}extendedKeyUsage=clientAuth\n"; make l17 client-root "$LEAF"; chain root-for-clients client-root l17
make client-mid root "${CA}extendedKeyUsage=clientAuth\n"; make l18 client-mid "$LEAF"; chain intermediate-for-clients root l18 client-mid
make signs-only root "keyUsage=keyCertSign\n$LEAF"; chain leaf-only-signs root signs-only

make critical root "1.3.6.1.4.1.1=critical,DER:0500\n$LEAF"; chain critical root critical
make critical-root - "${CA}1.3.6.1.4.1.1=critical,DER:0500\n"; make l19 critical-root "$LEAF"; chain critical-root critical-root l19
make nocheck root "noCheck=critical,ignored\n$LEAF"; chain critical-nocheck root nocheck
make odd-pathlen root "basicConstraints=CA:FALSE,pathlen:0\n$LEAF"; chain pathlen-without-ca root odd-pathlen
make policy root "certificatePolicies=critical,1.2.3.4\n$LEAF"; chain critical-policy root policy
make explicit-policy root "${CA}policyConstraints=critical,requireExplicitPolicy:0\n"; make l20 explicit-policy "$LEAF"
chain policy-required root l20 explicit-policy
make broken root "keyUsage=DER:0500\n$LEAF"; chain broken-extension root broken
make broken-mid root "basicConstraints=DER:0500\n"; make l21 broken-mid "$LEAF"; chain broken-intermediate root l21 broken-mid

for kind in rsa1024 rsa1792 rsa2048 rsa3072 p384 p521 ed25519 pss; do
	make "kind-$kind" root "$LEAF" $kind; chain "leaf-$kind" root "kind-$kind"
	make "ca-$kind" - "$CA" $kind; make "by-$kind" "ca-$kind" "$LEAF"; chain "root-$kind" "ca-$kind" "by-$kind"
	make "mid-$kind" root "$CA" $kind; make "below-$kind" "mid-$kind" "$LEAF"
	chain "intermediate-$kind" root "below-$kind" "mid-$kind"
done
make self-weak - "$LEAF" rsa1024; chain weak-and-unknown root self-weak
make explicit root "$LEAF" explicit; chain explicit-curve root explicit
make explicit-self - "$LEAF" explicit; chain explicit-curve-pinned explicit-self explicit-self
sign=-sha1 make sha1 root "$LEAF"; chain sha1 root sha1
sign=-sha1 make sha1-root - "$CA"; make l22 sha1-root "$LEAF"; chain sha1-root sha1-root l22
make rsa-root - "$CA" rsa2048
sign=-md5 make md5 rsa-root "$LEAF"; chain md5 rsa-root md5
sign='-sigopt rsa_padding_mode:pss' make pss-signed rsa-root "$LEAF"; chain pss-signed rsa-root pss-signed
# Another key under the issuer's name: the signature is not its
subject=mid make mid-forged root "$CA"; chain bad-signature root below mid-forged
NO_IDS='subjectKeyIdentifier=none\nauthorityKeyIdentifier=none\n'
make mid-plain-ids root "$CA$NO_IDS"; make l31 mid-plain-ids "$LEAF$NO_IDS"; chain without-key-identifiers root l31 mid-plain-ids
subject=mid-plain-ids make mid-forged-ids root "$CA$NO_IDS"; chain bad-signature-without-identifiers root l31 mid-forged-ids
subject=root make root-forged-ids - "$CA$NO_IDS"; make l32 root "$LEAF$NO_IDS"
chain bad-signature-of-root-without-identifiers root-forged-ids l32
make cross-a root "$CA$NO_IDS"; make cross-b cross-a "$CA$NO_IDS"
cp cross-a.key cross-a2.key; subject=cross-a make cross-a2 cross-b "$CA$NO_IDS"; make l33 cross-a "$LEAF$NO_IDS"
chain in-circles other l33 cross-a2 cross-b cross-a
chain in-circles-with-a-way-out root l33 cross-a2 cross-b cross-a
subject=root make root-forged - "$CA"; chain bad-signature-of-root root-forged leaf

# What openssl x509 -trustout notes beside a certificate
noted() { # noted NAME ISSUER OPTIONS: a copy of ISSUER.crt
	n=$1; i=$2; shift 2
	q x509 -in "$i.crt" -trustout "$@" -out "$n.crt"
}
noted noted-plain root; chain noted-plain noted-plain below mid
noted noted-server root -addtrust serverAuth; chain noted-for-servers noted-server below mid
noted noted-client root -addtrust clientAuth; chain noted-for-clients noted-client below mid
noted noted-not-server root -addreject serverAuth; chain noted-against-servers noted-not-server below mid
noted noted-not-client root -addreject clientAuth; chain noted-against-clients noted-not-client below mid
noted noted-mid mid -addtrust serverAuth; chain noted-intermediate noted-mid below
noted noted-mid-client mid -addtrust clientAuth; chain noted-intermediate-for-clients noted-mid-client below
noted noted-mid-old mid-old -addtrust serverAuth; chain noted-intermediate-old noted-mid-old l1
noted noted-client-root client-root -addtrust serverAuth; chain noted-beats-usage noted-client-root l17
noted noted-leaf leaf -addtrust serverAuth; chain noted-leaf noted-leaf leaf
noted noted-no-sign self-no-sign -addtrust serverAuth; chain noted-no-sign noted-no-sign self-no-sign
noted noted-not-self self -addreject serverAuth; chain noted-against-self noted-not-self self
make sgc-mid root "${CA}extendedKeyUsage=msSGC\n"; make l23 sgc-mid "$LEAF"; chain intermediate-for-gated-servers root l23 sgc-mid
make sgc root "extendedKeyUsage=nsSGC\n$LEAF"; chain for-gated-servers root sgc
make sgc-signs root "extendedKeyUsage=nsSGC\nkeyUsage=keyCertSign\n$LEAF"; chain gated-only-signs root sgc-signs
make blocks root "sbgp-ipAddrBlock=critical,IPv4:192.0.2.0/24\n$LEAF"; chain critical-blocks root blocks

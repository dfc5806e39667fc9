"""The text that the demo's language models learn: small talk, made here.

Every conversation is put together from the tables below by a seeded generator,
so the corpus is this project's own and can be made again. A conversation is
one to three turns of questions that a very small model can learn to answer:
sums, opposites, colours, sounds of animals, the days of the week, and stories
whose heroes and places the reader chooses.
"""
import random

NAMES = "Anna Ben Clara David Emma Finn Grace Henry Iris Jack Kate Leo Mia Nora Oscar Paul Rosa Sam Tom Zoe".split()
ANIMALS = {"cow": "moo", "dog": "woof", "cat": "meow", "duck": "quack", "sheep": "baa", "pig": "oink", "horse": "neigh", "owl": "hoo",
           "lion": "roar", "bee": "buzz", "frog": "croak", "mouse": "squeak", "snake": "hiss", "rooster": "cock-a-doodle-doo", "wolf": "howl"}
COLOURS = {"grass": "green", "the sky": "blue", "snow": "white", "coal": "black", "a banana": "yellow", "a tomato": "red", "an orange": "orange",
           "the sun": "yellow", "a lemon": "yellow", "blood": "red", "milk": "white", "chocolate": "brown", "a carrot": "orange", "a frog": "green", "the sea": "blue"}
OPPOSITES = {"big": "small", "hot": "cold", "day": "night", "up": "down", "fast": "slow", "happy": "sad", "old": "young", "open": "closed",
             "light": "dark", "wet": "dry", "full": "empty", "loud": "quiet", "hard": "soft", "left": "right", "good": "bad", "near": "far"}
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()
NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve".split()
HEROES = "fox bear rabbit hedgehog mouse owl frog cat dog duck squirrel wolf".split()
PLACES = ["forest", "garden", "village", "castle", "mountain", "valley", "harbour", "meadow"]
THINGS = ["red ball", "golden key", "little lamp", "blue kite", "wooden boat", "silver bell", "round stone", "warm scarf"]
WEATHER = ["sunny", "rainy", "windy", "snowy", "foggy"]
FEELINGS = ["happy", "proud", "glad", "cheerful"]

GREETINGS = ["Hello", "Hi", "Hello there", "Good morning", "Good evening", "Hey"]


def article(noun):
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def story(r, hero=None, place=None):
    hero, place = hero or r.choice(HEROES), place or r.choice(PLACES)
    friend = r.choice([h for h in HEROES if h != hero])
    name = r.choice(NAMES)
    thing, weather, feeling = r.choice(THINGS), r.choice(WEATHER), r.choice(FEELINGS)
    return " ".join([
        r.choice([f"Once upon a time there was {article(hero)} named {name}.", f"In a {place} there lived {article(hero)} named {name}.",
                  f"{name} was {article(hero)} who lived in a {place}."]),
        r.choice([f"One {weather} day {name} walked through the {place}.", f"It was a {weather} day, and {name} went out into the {place}."]),
        r.choice([f"Under a tree {name} found a {thing}.", f"There {name} saw a {thing}."]),
        r.choice([f"\"Whose {thing.split()[-1]} is this?\" asked {name}.", f"{name} had never seen such a fine {thing.split()[-1]}."]),
        r.choice([f"Then came {article(friend)}.", f"Soon {article(friend)} came by."]),
        r.choice([f"\"I lost my {thing},\" said the {friend}.", f"The {friend} was sad, because the {thing} was lost."]),
        r.choice([f"The {hero} gave the {thing} back to the {friend}.", f"\"Here it is,\" said the {hero}, and gave the {thing} to the {friend}."]),
        r.choice([f"The {friend} was {feeling}, and from that day on they were friends.", f"So the {hero} and the {friend} became friends."]),
    ])


def question(r):
    kind = r.randrange(13)
    if kind == 0:
        a, b = r.randrange(0, 13), r.randrange(0, 13)
        q = r.choice([f"What is {a} plus {b}?", f"How much is {a} + {b}?", f"{a} + {b} = ?", f"Add {a} and {b}."])
        return q, f"{a} plus {b} is {a + b}."
    if kind == 1:
        a, b = sorted((r.randrange(0, 21), r.randrange(0, 13)), reverse=True)
        q = r.choice([f"What is {a} minus {b}?", f"How much is {a} - {b}?", f"{a} - {b} = ?"])
        return q, f"{a} minus {b} is {a - b}."
    if kind == 2:
        w, o = r.choice(list(OPPOSITES.items()))
        if r.random() < .5:
            w, o = o, w
        return r.choice([f"What is the opposite of {w}?", f"Tell me the opposite of {w}.", f"Opposite of {w}?"]), f"The opposite of {w} is {o}."
    if kind == 3:
        t, c = r.choice(list(COLOURS.items()))
        subject = t[0].upper() + t[1:]
        return r.choice([f"What colour is {t}?", f"What color is {t}?", f"Which colour has {t}?"]), f"{subject} is {c}."
    if kind == 4:
        a, s = r.choice(list(ANIMALS.items()))
        return r.choice([f"What does {article(a)} say?", f"What sound does {article(a)} make?", f"How does {article(a)} sound?"]), f"{article(a).capitalize()} says {s}."
    if kind == 5:
        i = r.randrange(7)
        return r.choice([f"What day comes after {DAYS[i]}?", f"Which day follows {DAYS[i]}?"]), f"After {DAYS[i]} comes {DAYS[(i + 1) % 7]}."
    if kind == 6:
        i = r.randrange(12)
        return r.choice([f"What month comes after {MONTHS[i]}?", f"Which month follows {MONTHS[i]}?"]), f"After {MONTHS[i]} comes {MONTHS[(i + 1) % 12]}."
    if kind == 7:
        n = r.randrange(3, 13)
        return r.choice([f"Count to {n}.", f"Can you count to {n}?", f"Please count to {NUMBERS[n]}."]), ", ".join(NUMBERS[1:n + 1]).capitalize() + "."
    if kind == 8:
        return r.choice(["Who are you?", "What are you?", "What is your name?", "Tell me about yourself."]), r.choice([
            "I am a very small language model that comes with salver.", "I am the demo model of salver. I am small, but I can add, name colours and tell stories."])
    if kind == 9:
        return r.choice(["How are you?", "How are you today?", "Are you well?"]), r.choice(["I am fine, thank you. How can I help you?", "Very well, thank you. What would you like to know?"])
    if kind == 10:
        return r.choice(["What can you do?", "How can you help me?", "Help"]), "I can add and subtract small numbers, name colours, opposites, days and months, and tell you a story."
    if kind == 11:
        return r.choice(["Thank you.", "Thanks!", "Thank you very much."]), r.choice(["You are welcome.", "You are welcome. Is there anything else?"])
    hero, place = r.choice(HEROES), r.choice(PLACES)
    q = r.choice([f"Tell me a story about {article(hero)}.", f"Tell me a story about {article(hero)} in a {place}.", f"Write a short story about {article(hero)}.", "Tell me a story."])
    return q, story(r, hero if "about" in q else None, place if " in a " in q else None)


def conversation(r):
    """A list of turns, user and assistant by turns."""
    turns = []
    if r.random() < .25:
        turns += [f"{r.choice(GREETINGS)}{r.choice('!.')}", r.choice(["Hello! How can I help you?", "Hello! What would you like to know?"])]
    for _ in range(r.randrange(1, 4)):
        q, a = question(r)
        if r.random() < .15:
            q = q.lower()
        turns += [q, a]
    return turns

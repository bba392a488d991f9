"""Things, deeds and sentences that this table has nothing to do with, for requests that must be refused."""

from __future__ import annotations

from collections.abc import Mapping

from itk_sim.lexicon import Patterns, Split
from itk_sim.wide import widened


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip().replace("_", " ") for word in text.split())


THINGS: Mapping[Split, tuple[str, ...]] = widened(
    "THINGS",
    {
        "train": _words(
            """banana apple orange_juice lemon pear grape tomato potato carrot onion cucumber egg bread toast sandwich
        pizza burger cake cookie biscuit cheese butter milk honey rice pasta soup salad steak fish chicken sausage mug
        cup glass bottle can jar jug plate saucer spoon fork knife spatula ladle whisk pan pot kettle teapot toaster
        blender lid napkin towel sponge soap brush broom bucket bin basket bag backpack suitcase wallet purse key phone
        laptop tablet keyboard mouse monitor camera cable charger battery lamp candle book notebook paper pen pencil
        eraser ruler scissors stapler tape glue envelope letter newspaper clock watch ring necklace hat shoe sock glove
        scarf jacket shirt umbrella pillow blanket hammer screwdriver wrench nail screw bolt nut drill saw rope chain
        ball football puzzle doll teddy_bear robot_toy car truck train plane boat bicycle flower vase plant leaf stone
        shell cat dog bird duck horse elephant medicine pill toothbrush comb mirror coin dice domino chess_piece card
        cylinder sphere pyramid cone ball_bearing marble lego_man sugar salt pepper_mill tea_bag coffee remote"""
        ),
        "wording": _words(
            """mango kiwi avocado donut waffle noodle pancake tongs colander thermos wok funnel magnet flashlight
        compass trophy violin guitar trumpet drumstick skateboard helmet sunglasses slipper belt calculator microphone
        globe snowman dinosaur penguin turtle starfish cactus acorn feather"""
        ),
    },
)
PLACES_IN: Mapping[Split, tuple[str, ...]] = widened(
    "PLACES_IN",
    {
        "train": _words(
            """sink fridge freezer oven microwave dishwasher washing_machine trash_can bin wastebasket bucket cup mug
        glass pot pan jar bottle bag basket suitcase closet wardrobe bathtub toilet car garage pocket box_of_cereal vase
        aquarium mailbox safe cage"""
        ),
        "wording": _words("crate barrel thermos hamper locker kennel barn pond volcano canoe"),
    },
)
PLACES_ON: Mapping[Split, tuple[str, ...]] = widened(
    "PLACES_ON",
    {
        "train": _words(
            """shelf chair sofa bed floor stove counter windowsill roof plate saucer tray_of_food book laptop desk_lamp
        carpet stool bench ceiling wall ladder cutting_board scale pillow"""
        ),
        "wording": _words("pedestal podium mantelpiece balcony trampoline surfboard anvil throne"),
    },
)
COLOURS = ("red", "green", "blue", "yellow", "big", "small", "black", "brown", "old", "shiny", "pink", "white")
NO_SUCH_COLOURS = (
    "black",
    "brown",
    "gold",
    "silver",
    "beige",
    "transparent",
    "striped",
    "violet",
    "magenta",
    "lime",
    "navy",
)
DEEDS: Mapping[Split, Patterns] = widened(
    "DEEDS",
    {
        "train": (
            "(rotate|turn|spin|flip) {any} [over|around|upside down]",
            "(wash|clean|rinse|dry|polish|wipe) {holder}",
            "(cut|slice|break|smash|crush|burn|melt) {obj} [in half|into pieces]",
            "(paint|dye|colour|color) {obj} (red|blue|green|black|white)",
            "(open|close|shut|lock) {obj}",
            "(open|close|unscrew) {holder}",
            "(eat|cook|bake|fry|boil|weigh|measure|photograph|sell) {any}",
            "(throw|kick|hit|roll|toss) {obj} (at the wall|out of the window|on the floor|across the room|away)",
            "(pour|fill) (water|milk|juice) into {holder}",
            "hand {any} (to me|over [to me])",
            "give me {any}",
            "balance {obj} on (your|its) (head|edge|corner)",
        ),
        "wording": (
            "(juggle|bounce|shake|squeeze) {any}",
            "glue {obj} to (my hand|itself)",
            "write (a poem|your name) on {any}",
            "(fold|iron|stretch|inflate) {any}",
            "teach {any} to sing",
        ),
    },
)
"""What is asked of known things but cannot be done. {obj} a cube, {holder} a bowl or the mat, {any} either."""
ITSELF: Mapping[Split, Patterns] = widened("ITSELF", {"train": (), "wording": ()})
"""A cube {obj} that is to be put on itself, {again}; elsewhere it is said as of two cubes."""
NONSENSE: Mapping[Split, Patterns] = widened("NONSENSE", {
    "train": (
        "what is the (weather|time|date|temperature) [like] [today|now]?", "how many (cubes|bowls|blocks) are there?",
        "what (colour|color) is {any}?", "where is {any}?", "who are you?", "what is your name?",
        "how are you [today]?",
        "what can you do?", "(tell|give) me a (joke|story|poem)", "(sing|play) [me] a song",
        "(dance|jump|run|swim|fly|sleep)",
        "do (nothing|something|a backflip|your homework)",
        "what is (two|three|five) (plus|times|minus) (two|four|seven)?",
        "(hello|hi|hey|good morning|good evening|thank you|goodbye|yes|no|maybe|stop|help|test)", "{gibberish}",
        "{gibberish} {gibberish}", "{gibberish} {gibberish} {gibberish}", "(the|a) (of|and|to) (in|the) (cube|is|so)",
        "is {any} (big|small|heavy|nice)?", "can you see {any}?", "I (like|love|hate|see|dream of) {any}",
        "(turn on|turn off|switch on|switch off) the (lights|music|radio|heating)",
        "call (my mother|a taxi|the police)",
        "go to the (kitchen|door|window|moon|park)", "write (an email|a letter|some code)", "cube cube cube", "put",
        "put the",
        "the cube", "move it", "order a pizza", "make (me a|some) (coffee|tea|sandwich|breakfast)",
        "lorem ipsum dolor sit amet",
        "(charge|update|restart|reboot) yourself", "(book|buy) a (flight|ticket|car)",
        "colourless green ideas sleep furiously",
    ),
    "wording": (
        "why is the sky blue?", "which of the cubes do you like best?", "recite the alphabet", "when was {any} made?",
        "translate cube into French", "how heavy is {any}?", "count to a hundred", "do you believe in ghosts?",
        "wave at me",
        "solve this riddle", "water the plants", "predict the lottery numbers", "{gibberish} or else {gibberish}",
    ),
})  # fmt: skip
SYLLABLES = _words("ba do fi gu ka le mo nu pra qui ro sti tza ul vex wob xyl yag zim flo grn bl sna trk ee oo")
